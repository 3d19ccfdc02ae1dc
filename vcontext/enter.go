package vcontext

import (
	"vserver/guest"
	"vserver/spawn"
)

// Enter is a command about to be run in a guest that runs already.
type Enter struct {
	Pidfd   int // of a process of the guest
	Userns  bool
	OwnNet  bool
	OwnTime bool
	UID     uint32 // as the guest counts
	GID     uint32
	Groups  []uint32
	Dir     string
	Stdio   [3]int   // descriptors of the caller, above 2 or at their place
	TTY     bool     // the first of them is a terminal, which becomes the controlling one
	Sealed  int      // a file with the program that executes the command, by Argv: see reaper.Exec; 0 for none
	Tools   *Tools   // nil: the command sees the guest's root as its own
	Joins   []string // files of the host's that take the process into the guest's cgroup v1 limits, where they are there
	// Search, when not nil, are the directories for a program that is named later, in place
	// of Paths and Argv: see spawn.Table.ExecNamed.
	Search []string
	// Served, when not "", is the message by which the process, whose filter is Listened,
	// hands the listener to its server itself: see spawn.Table.SeccompServed.
	Served string
	Program
	Rights
}

// Table gives what the process does that runs the command.
func (e *Enter) Table() *spawn.Table {
	t := &spawn.Table{}
	e.Append(t)
	return t
}

// Append appends that to a table. The pidfd is the first that is Given.
func (e *Enter) Append(t *spawn.Table) {
	t.Hide()
	var program spawn.Reg
	if e.Sealed > 0 {
		program = t.Keep("reaper", e.Sealed)
	}
	e.Rights.order(t)
	for _, file := range e.Joins {
		t.WriteIfThere(file, "0")
	}
	pidfd := t.Given(e.Pidfd)
	flags := spawn.NewMount | spawn.NewPid | spawn.NewUTS | spawn.NewIPC | spawn.NewCgroup
	if e.Userns {
		flags |= spawn.NewUser
	}
	if e.OwnNet {
		flags |= spawn.NewNet
	}
	if e.OwnTime {
		flags |= spawn.NewTime
	}
	if e.Tools != nil {
		t.Setns(e.Pidfd, flags&^(spawn.NewMount|spawn.NewUser))
		e.Tools.show(t, e.Pidfd, e.Userns)
	} else {
		t.Join(pidfd, flags)
	}
	t.Fork("enter pid namespace", 0, nil)
	t.Keyring()
	e.stdio(t)
	t.Umask(0o022)
	e.Rights.limit(t)
	t.ResetSignals()
	t.CloseOthers()
	if e.Sealed > 0 {
		if e.Listened {
			t.KeepGate()
		}
		program = t.HandReport(e.Paths[0], program)
	}
	filter := e.Rights.filter
	if e.Served != "" {
		filter = func(t *spawn.Table) { t.SeccompServed(e.Filter, e.Served, pidfd) }
	}
	e.Rights.confine(t, filter, e.UID, e.GID, e.Groups)
	t.Chdir(e.Dir)
	switch {
	case e.Sealed > 0:
		t.ExecFile("reaper", program, e.Argv, e.Env)
	case e.Search != nil:
		t.ExecNamed(e.Search, e.Env)
	default:
		t.Exec(e.Paths, e.Argv, e.Env)
	}
}

// stdio gives the process its standard files.
func (e *Enter) stdio(t *spawn.Table) {
	if e.TTY {
		t.Session()
	}
	t.StdioFds(e.Stdio)
	if e.TTY {
		t.Terminal()
	}
}

// order sets the place of the process among others, while it has the host's right to.
func (r *Rights) order(t *spawn.Table) {
	if r.Nice != 0 {
		t.Nice(r.Nice)
	}
	if r.IOPrio != 0 {
		t.IOPrio(int(r.IOPrio))
	}
}

// limit sets the limits of the process.
func (r *Rights) limit(t *spawn.Table) {
	for _, name := range guest.Rlimits() {
		l, ok := r.Rlimits[name]
		if !ok {
			continue
		}
		n, _ := guest.RlimitNumber(name)
		t.Rlimit(name, n, l.Soft, l.Hard)
	}
}

// filter installs the filter of system calls.
func (r *Rights) filter(t *spawn.Table) {
	switch {
	case r.Listened:
		t.SeccompListened(r.Filter)
	case r.Filter != nil:
		t.Seccomp(r.Filter)
	}
}

// confine takes the ids and takes away all rights that are not kept. The filter
// comes first and the capabilities last: each needs some that may be among those
// dropped.
func (r *Rights) confine(t *spawn.Table, filter func(*spawn.Table), uid, gid uint32, groups []uint32) {
	if r.Personality != 0 {
		t.Personality(r.Personality)
	}
	if r.NoNewPrivs {
		t.NoNewPrivs()
	}
	filter(t)
	t.DropBounding(r.Caps, r.LastCap)
	t.Become(uid, gid, groups)
	if uid == 0 {
		t.Capabilities(r.Caps)
	} else {
		t.Capabilities(0)
	}
}
