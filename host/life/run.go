// Package life is how a guest starts and ends: one table of steps, walked forward by a
// start, and backward by a stop, by whoever finds that a guest has ended, and by the
// next start after one that was killed.
package life

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/network"
	"vserver/host/state"
	"vserver/host/stdio"
	"vserver/kernel/cgroup"
	"vserver/kernel/clock"
	"vserver/limit"
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
	plan    vcontext.Start
	mounts  []rootfs.Mount
	volumes []rootfs.Volume
	limits  guest.Limits // those that control groups hold
	net     *network.Guest

	group   *cgroup.Group
	child   *spawn.Child
	userns  *os.File // the outer one
	fds     []int    // of the mounts, in their order; -1 not made yet
	placed  []int    // of the volumes
	stdio   [3]*os.File
	console *os.File     // the host's end
	pumps   *stdio.Files // of a start in the foreground
	told    *proto.Told
	view    *view.Mount
	viewed  *proto.Told // of the view
	held    held        // of a stop: what it has of the guest's init
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
	r.mounts = rootfs.Plan(&r.spec, d.Guest(n), func(image string) string {
		return filepath.Join(d.Pool(), "images", image, "tree")
	})
	r.fds = make([]int, len(r.mounts))
	for i := range r.fds {
		r.fds[i] = -1
	}
	return r, r.context()
}

func (r *Run) context() error {
	s := &r.spec
	rights, err := vcontext.RightsOf(s.Userns == guest.UsernsPrivate, s.Network.OwnNet(), s.Network.Hidden(), s.Rights, s.Limits.Rlimits)
	if err != nil {
		return err
	}
	rights.Nice, rights.IOPrio = s.Limits.Nice, s.Limits.IONice
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
		TTY:      s.Console.Type == guest.ConsoleTTY,
		Init:     program(s, nil),
		Rights:   rights,
	}
	r.plan.Reaper = s.Init.Style != guest.InitPlain
	for _, m := range r.mounts {
		r.plan.Targets = append(r.plan.Targets, m.Target)
	}
	return r.planView()
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
		argv = []string{"/etc/init.d/rc", s.Init.Runlevel}
	default:
		argv = s.Init.Command
	}
	for k, v := range s.Init.Environment {
		env[k] = v
	}
	p := vcontext.Program{Paths: argv[:1], Argv: argv, Env: vcontext.Environ(env)}
	switch s.Init.Style {
	case guest.InitSysv:
		p.Argv = reaper.Args(reaper.Sysv, env["PATH"], argv)
	case guest.InitCommand:
		p.Argv = reaper.Args(reaper.Command, env["PATH"], argv)
	}
	return p
}

// note is what is written down of the run once the init's pid is known.
func (r *Run) note(pid int, began uint64) *state.Note {
	return &state.Note{
		PID: pid, Began: began, Started: time.Now(),
		XID: r.spec.XID, Base: r.plan.Base, Userns: r.plan.Userns, OwnNet: r.plan.OwnNet, Hidden: r.spec.Network.Hidden(),
		OwnTime: r.plan.Offsets != "", Style: r.spec.Init.Style,
		Mode: r.spec.Network.Mode, Addrs: r.net.Noted(), Env: r.spec.Init.Environment,
		Rights: r.spec.Rights, Rlimits: r.spec.Limits.Rlimits, Nproc: r.plan.Pids,
		Nice: r.spec.Limits.Nice, IONice: r.spec.Limits.IONice,
	}
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

// hook runs the host's programs for a point of the guest's life.
func (r *Run) hook(ctx context.Context, point string, programs []string) error {
	for _, p := range programs {
		if err := runHook(ctx, p, point, r.name, r.output); err != nil {
			return err
		}
	}
	return nil
}

// hookTime bounds a hook: one that hangs would hang the guest's lock with it.
const hookTime = 5 * time.Minute

// runHook runs one program of the host for a point of a guest's life, with the
// point's name and the guest's name as arguments.
func runHook(ctx context.Context, program, point string, n guest.Name, output io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	c := exec.CommandContext(ctx, program, point, string(n))
	c.Stdout, c.Stderr = output, output
	c.WaitDelay = time.Second // for what the hook left running with its output open
	if err := c.Run(); err != nil {
		return fmt.Errorf("hook %s %s: %w", point, program, err)
	}
	return nil
}
