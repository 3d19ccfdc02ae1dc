package life

import (
	"context"
	"syscall"

	"vserver/guest"
	"vserver/host/balance"
	"vserver/limit"
	"vserver/vcontext/elder"
)

func (r *Run) makeGroup(context.Context) (err error) {
	if r.group, err = r.cg.Create(r.dirs.Group(r.name)); err != nil {
		return err
	}
	if err := r.group.Delegate(r.plan.Base, r.plan.Base); err != nil {
		return err
	}
	if r.spec.Init.Style == guest.InitPlain { // units have limits of their own
		if err := r.cg.Lend(r.dirs.Group(r.name), "cpu", "io", "memory", "pids"); err != nil {
			return err
		}
	}
	if r.plan.Joins, err = limit.Prepare(r.cg, r.dirs.Group(r.name), r.limits); err == nil && r.spec.Rights.Cgroup1 {
		r.plan.Elder, err = elder.Join(r.dirs, r.name, r.plan.Base)
	}
	return err
}

// removeGroup ends what is left in the group and removes it, with the groups that
// hold its limits.
func (r *Run) removeGroup() error { return removeGroup(r.dirs, r.cg, r.name) }

func (r *Run) closeJoins() {
	limit.CloseJoins(r.plan.Joins)
	r.plan.Joins = nil
	if r.plan.Elder > 0 {
		syscall.Close(r.plan.Elder)
		r.plan.Elder = 0
	}
}

func (r *Run) setLimits(context.Context) error {
	if err := balance.Admit(r.dirs, r.cg, r.name, &r.limits); err != nil {
		return err
	}
	return limit.Apply(r.cg, r.dirs.Group(r.name), r.limits)
}
