// Package life is how a guest starts and ends: one table of steps, walked forward by a
// start, and backward by a stop, by whoever finds that a guest has ended, and by the
// next start after one that was killed.
package life //house:allow start and stop are one table, each step with its undo

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/hook"
	"vserver/host/network"
	"vserver/host/state"
	"vserver/host/stdio"
	"vserver/kernel/cgroup"
	"vserver/kernel/clock"
	"vserver/limit"
	"vserver/pool"
	"vserver/reaper"
	"vserver/rootfs"
	"vserver/spawn"
	"vserver/vcontext"
	"vserver/view"
)

// Run is one start or stop of a guest: what is wanted, and what the steps of the
// table hold while they go forward. Undoing uses the wanted half alone, so that a
// later process can do it.
type Run struct {
	dirs    guest.Dirs
	name    guest.Name
	spec    guest.Spec
	cg      cgroup.Host
	output  io.Writer
	front   bool // of a start in the foreground: files are its standard output and error
	files   [2]*os.File
	rescue  bool     // the init of spec is not that of the guest's own spec
	visit   bool     // see Visit
	visitor *os.File // of a visit that begins: the standard input of its process 1
	plan    vcontext.Start
	images  map[string]string // full names by what the spec says
	mounts  []rootfs.Mount
	volumes []rootfs.Volume
	limits  guest.Limits // those that control groups hold
	bounds  limit.Prepared
	views   guest.ViewFlags
	net     *network.Guest

	group   *cgroup.Group
	child   *spawn.Child
	userns  *os.File // the outer one
	proc    *os.File // a procfs for the child alone, until it has executed
	fds     []int    // of the mounts, in their order; -1 not made yet
	placed  []int    // of the volumes
	stdio   [3]*os.File
	console *os.File     // the host's end
	pumps   *stdio.Files // of a start in the foreground
	told    *proto.Told
	view    *view.Mount
	viewed  *proto.Told // of the view
	held    held        // of a stop: what it has of the guest's init
	scripts scripts
}

// newRun decides everything about the guest's context that can be decided without
// touching the machine.
func newRun(d guest.Dirs, n guest.Name, spec *guest.Spec, output io.Writer) (*Run, error) {
	if output == nil {
		output = io.Discard
	}
	r := &Run{dirs: d, name: n, spec: spec.WithDefaults(n), output: output}
	var err error
	if r.cg, err = cgroup.Find(); err != nil {
		return nil, err
	}
	if r.net, err = network.Of(r.cg, d, n, &r.spec); err != nil {
		return nil, err
	}
	r.images = images(d, &r.spec)
	r.mounts = rootfs.Plan(&r.spec, d.Guest(n), files.Layers(d, n), func(image string) string {
		return filepath.Join(d.Pool(), "images", r.images[image], "tree")
	})
	if err := r.findImage(); err != nil {
		return nil, err
	}
	r.fds = slices.Repeat([]int{-1}, len(r.mounts))
	return r, r.context()
}

// images gives the full names of the images that a spec names. One that is not there is
// called as it is: that is for the mount to say, a stop does not ask for it.
func images(d guest.Dirs, spec *guest.Spec) map[string]string {
	if len(spec.Root.Lower) == 0 {
		return nil
	}
	out := make(map[string]string, len(spec.Root.Lower))
	for _, l := range spec.Root.Lower {
		if filepath.IsAbs(l) {
			continue
		}
		out[l] = l
		if full, err := pool.Open(d.Pool()).Resolve(l); err == nil {
			out[l] = full
		}
	}
	return out
}

func (r *Run) context() error {
	s := &r.spec
	views, err := s.Views()
	if err != nil {
		return err
	}
	if !view.Ready() {
		views &= guest.HostTime
	}
	rights, err := vcontext.RightsOf(s.Userns == guest.UsernsPrivate, s.Network.OwnNet(), s.Network.Hidden(), views, s.Rights, s.Limits.Rlimits)
	if err != nil {
		return err
	}
	rights.Nice, rights.IOPrio = s.Limits.Nice, s.Limits.IONice
	r.views = views
	var pids uint64
	r.limits = s.Limits
	if s.Userns == guest.UsernsPrivate {
		pids, r.limits = limit.Nproc(r.cg, s.Limits)
	}
	r.plan = vcontext.Start{
		Userns:   s.Userns == guest.UsernsPrivate,
		Nesting:  s.Rights.Nesting,
		OwnNet:   s.Network.OwnNet(),
		Base:     s.FirstID(),
		Hostname: s.Hostname,
		Pids:     int(pids),
		Ceilings: s.Limits.Ceilings,
		Offsets:  clock.ZeroOffsets(),
		TTY:      s.Console.Type == guest.ConsoleTTY && !leavesTerminal(s),
		Init:     program(s, nil),
		Rights:   rights,
	}
	r.plan.Sealed = s.Init.Style == guest.InitPlain && s.Userns == guest.UsernsNone
	r.plan.Reaper = s.Init.Style != guest.InitPlain || r.plan.Sealed
	for _, m := range r.mounts {
		r.plan.Targets = append(r.plan.Targets, m.Target)
	}
	return r.planView()
}

// leavesTerminal tells whether the console is to be the controlling terminal of nobody
// yet. A distribution's init has none on a machine either, and each login takes it.
func leavesTerminal(s *guest.Spec) bool {
	return s.Init.Style == guest.InitPlain && (len(s.Init.Command) == 0 || filepath.Base(s.Init.Command[0]) == "init")
}

// program is what becomes of a spec's init section. who is the environment of the user
// that it runs as, if not root's.
func program(s *guest.Spec, who map[string]string) vcontext.Program {
	env := map[string]string{"PATH": vcontext.DefaultPath, "HOME": "/root", "container": "vserver"}
	for k, v := range who {
		env[k] = v
	}
	if s.Console.Type == guest.ConsoleTTY {
		env["TERM"] = "linux"
	}
	var argv []string
	switch s.Init.Style {
	case guest.InitPlain:
		argv = s.Init.Command
	case guest.InitSysv:
		env["PREVLEVEL"], env["RUNLEVEL"] = "N", s.Init.Runlevel
		if argv = s.Init.Command; len(argv) == 0 {
			argv = []string{"rc", s.Init.Runlevel}
		}
	default:
		argv = s.Init.Command
	}
	for k, v := range s.Init.Environment {
		env[k] = v
	}
	p := vcontext.Program{Paths: argv[:1], Argv: argv, Env: vcontext.Environ(env)}
	switch s.Init.Style {
	case guest.InitSysv:
		p.Argv = reaper.Args(reaper.Sysv, guest.RunlevelScripts, argv)
	case guest.InitCommand:
		p.Argv = reaper.Args(reaper.Command, env["PATH"], argv)
	default:
		if s.Userns == guest.UsernsNone {
			p.Argv = reaper.Exec(p.Paths, argv)
		}
	}
	return p
}

// note is what is written down of the run once the init's pid is known.
func (r *Run) note(pid int, began uint64) *state.Note {
	return &state.Note{
		PID: pid, Began: began, Started: time.Now(),
		XID: r.spec.XID, Base: r.plan.Base, Userns: r.plan.Userns, OwnNet: r.plan.OwnNet, Hidden: r.spec.Network.Hidden(),
		OwnTime: r.plan.Offsets != "", Style: r.spec.Init.Style, Rescue: r.rescue, Visit: r.visit,
		Mode: r.spec.Network.Mode, Addrs: r.spec.Network.Addresses, Env: r.spec.Init.Environment,
		Rights: r.spec.Rights, Rlimits: r.spec.Limits.Rlimits, Ceilings: r.spec.Limits.Ceilings, Nproc: r.plan.Pids,
		Nice: r.spec.Limits.Nice, OOM: r.spec.Limits.OOMScoreAdj, IONice: r.spec.Limits.IONice, Views: r.views,
		Images: slices.Collect(maps.Values(r.images)),
	}
}

// hooks are the programs of the host that run around start and stop.
func (r *Run) hooks() hook.Runner {
	return hook.Runner{Dirs: r.dirs, Name: r.name, Spec: &r.spec, Output: r.output, None: r.visit}
}

// Complain says what went wrong with a guest that runs all the same.
func (r *Run) Complain(err error) { r.complain(err) }

// complain says what went wrong and is no reason to stop there.
func (r *Run) complain(err error) error {
	if err != nil {
		fmt.Fprintf(r.output, "%s: %v\n", r.name, err)
	}
	return nil
}
