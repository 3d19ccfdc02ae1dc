package inside

import (
	"strings"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/account"
	"vserver/host/state"
	"vserver/limit"
	"vserver/spawn"
	"vserver/spawn/ready"
	"vserver/vcontext"
	"vserver/vcontext/elder"
)

// usual tells whether a command runs as `vserver NAME exec COMMAND` has it run: package ready
// takes the next one.
func (in *Guest) usual(c Command) bool {
	return len(c.Args) > 0 && len(c.Env) == 0 && c.Dir == "" && c.User == "" && !c.TTY && !c.Tools && !c.Ours && !c.Visit &&
		c.Signals && in.Note.Userns && !in.Note.Hidden && in.Note.OOM == 0
}

// keep has such a command ready for the next time, while this one runs, which has been born.
func (in *Guest) keep() error {
	return ready.Keep(ready.Source{
		State: in.dirs.State(in.name), Note: state.NotePath(in.dirs, in.name),
		Init: in.Note.PID, Pidfd: in.pidfd, Group: in.leaf, Server: in.dirs.Socket(), Patience: proto.Patience,
		Table: func(t *spawn.Table) error {
			plan, err := in.later()
			if err == nil {
				plan.Append(t)
			}
			return err
		},
	})
}

// later is the plan of a command that is named later. It reads anew what it is made from.
func (in *Guest) later() (*vcontext.Enter, error) {
	var err error
	if in.Note, err = state.ReadNote(in.dirs, in.name); err != nil {
		return nil, err
	}
	if in.Note == nil {
		return nil, guest.ErrStopped
	}
	who, err := account.Inside(in.Note.PID, "")
	if err != nil {
		return nil, err
	}
	const any = "/any"
	plan, err := in.plan(who, Command{Args: []string{any[1:]}})
	if err != nil {
		return nil, err
	}
	for _, path := range plan.Paths {
		plan.Search = append(plan.Search, strings.TrimSuffix(path, any))
	}
	plan.Stdio = [3]int{0, 1, 2}
	if plan.Listened {
		plan.Served = proto.CallsOf(in.name)
	}
	plan.Joins, err = in.joins()
	return plan, err
}

// joins are the files that take a process into the guest's v1 groups.
func (in *Guest) joins() ([]string, error) {
	list, err := limit.Joins(in.cg, in.dirs.Group(in.name))
	if in.Note.Rights.Cgroup1 {
		list = append(list, elder.Tasks(in.dirs, in.name)...)
	}
	return list, err
}
