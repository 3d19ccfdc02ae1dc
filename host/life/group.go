package life

import (
	"context"
	"slices"
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
	if err := r.lend(); err != nil {
		return err
	}
	if r.bounds, r.plan.Joins, err = limit.Prepare(r.cg, r.dirs.Group(r.name), r.limits); err == nil && r.spec.Rights.Cgroup1 {
		r.plan.Elder, err = elder.Join(r.dirs, r.name, r.plan.Base)
	}
	return err
}

// lend enables the controllers that the guest is to have before a limit asks for one. Units
// of an init have limits of their own. And whose root is the host's owns the files of its
// group's limits. With the option nsdelegate the kernel refuses to write to them; without
// it they are covered as the guest starts, so they must be there, and not come with a limit
// that it or another guest is given later.
func (r *Run) lend() error {
	var want []string
	if r.spec.Init.Style == guest.InitPlain {
		want = []string{"cpu", "io", "memory", "pids"}
	}
	if r.spec.Userns == guest.UsernsNone {
		with, err := r.cg.Options()
		if err != nil {
			return err
		}
		if r.plan.OwnLimits = slices.Contains(with, "nsdelegate"); !r.plan.OwnLimits {
			if want, err = r.cg.Controllers(); err != nil {
				return err
			}
		}
	}
	return r.cg.Lend(r.dirs.Group(r.name), want...)
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
	return r.bounds.Apply()
}
