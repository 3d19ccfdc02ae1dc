package life

import (
	"context"
	"fmt"
	"slices"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/balance"
	"vserver/host/files"
	"vserver/limit"
	"vserver/vcontext/elder"
)

// elderInit refuses a guest whose own init would find no control groups that it knows, and
// stand still without a word.
func (r *Run) elderInit() error {
	i := &r.spec.Init
	if i.Style != guest.InitPlain || r.spec.Rights.Cgroup1 || r.rescue || !slices.Equal(i.Command, []string{"/sbin/init"}) {
		return nil
	}
	root, err := files.Root(r.dirs, &r.spec, r.dirs.Guest(r.name))
	if err != nil {
		return nil // that is for its mount to say
	}
	defer root.Close()
	n, err := elder.Version(root)
	if err != nil || n == 0 {
		return err
	}
	return fault.Hint(fmt.Errorf("its init is systemd %d, which knows no cgroup v2: %w", n, guest.ErrUnsupported),
		fmt.Sprintf("`vserver %s set rights.cgroup1=true` gives it the v1 group that it wants; or init.style=sysv, or command", r.name))
}

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
