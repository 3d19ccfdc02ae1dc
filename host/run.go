package host

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/clock"
	"vserver/kernel/cred"
	"vserver/kernel/seccomp"
	"vserver/limit"
	"vserver/ncontext/shared"
	"vserver/reaper"
	"vserver/rootfs"
	"vserver/spawn"
	"vserver/vcontext"
)

// run is one start or stop of a guest: what is wanted, and what the steps of the
// table hold while they go forward. Undoing uses the wanted half alone, so that a
// later process can do it.
type run struct {
	h      *Host
	name   guest.Name
	spec   guest.Spec
	cg     cgroup.Host
	output io.Writer
	front  *Command // of a start in the foreground: its standard files
	plan   vcontext.Start
	mounts []rootfs.Mount
	limits guest.Limits // those that control groups hold
	pool   shared.Pool  // of addresses, in shared mode
	anyNet bool         // to be undone, whatever its network was

	group   *cgroup.Group
	child   *spawn.Child
	userns  *os.File // the outer one
	fds     []int    // of the mounts, in their order; -1 not made yet
	stdio   [3]*os.File
	console *os.File // the host's end
	pumps   *stdio   // of a start in the foreground
	told    *proto.Told
	asked   chan error // of a stop: how its command has ended
	since   time.Time  // of a stop: when the init was asked
	deaf    bool       // of a stop: it could not be asked
	held    held       // of a stop: what it has of the guest's init
}

// newRun decides everything about the guest's context that can be decided without
// touching the machine.
func (h *Host) newRun(n guest.Name, spec *guest.Spec, output io.Writer) (*run, error) {
	if output == nil {
		output = io.Discard
	}
	r := &run{h: h, name: n, spec: spec.WithDefaults(n), output: output}
	if err := r.chooseAddress(); err != nil {
		return nil, err
	}
	var err error
	if r.cg, err = cgroup.Find(); err != nil {
		return nil, err
	}
	r.mounts = rootfs.Plan(&r.spec, h.Dirs.Guest(n), func(image string) string {
		return filepath.Join(h.Dirs.Pool(), "images", image, "tree")
	})
	r.fds = make([]int, len(r.mounts))
	for i := range r.fds {
		r.fds[i] = -1
	}
	return r, r.context()
}

// group gives the path of the guest's control group below the v2 mount.
func (h *Host) group(n guest.Name) string { return h.Dirs.Cgroup + "/" + string(n) }

func (r *run) context() error {
	s := &r.spec
	rights, err := rightsOf(s.Userns == guest.UsernsPrivate, s.Network.OwnNet(), s.Network.Hidden(), s.Rights, s.Limits.Rlimits)
	if err != nil {
		return err
	}
	var pids uint64
	r.limits = s.Limits
	if s.Userns == guest.UsernsPrivate {
		pids, r.limits = limit.Nproc(r.cg, s.Limits)
	}
	r.plan = vcontext.Start{
		Userns:   s.Userns == guest.UsernsPrivate,
		Nesting:  s.Rights.Nesting,
		OwnNet:   s.Network.OwnNet(),
		Base:     s.IDBase,
		Hostname: s.Hostname,
		Pids:     int(pids),
		Ceilings: s.Limits.Ceilings,
		Offsets:  clock.ZeroOffsets(),
		TTY:      s.Console.Type == guest.ConsoleTTY,
		Init:     program(s),
		Rights:   rights,
	}
	if !r.plan.Userns {
		r.plan.Base = 0
	}
	r.plan.Reaper = s.Init.Style != guest.InitPlain
	for _, m := range r.mounts {
		r.plan.Targets = append(r.plan.Targets, m.Target)
	}
	return nil
}

// rightsOf turns the words of a spec into what the kernel takes. hidden has the filter
// leave the host's sockets to a server: see serve.
func rightsOf(userns, ownNet, hidden bool, want guest.Rights, limits map[string]guest.Rlimit) (vcontext.Rights, error) {
	spec := guest.Spec{Userns: guest.UsernsPrivate, Rights: want}
	if !userns {
		spec.Userns = guest.UsernsNone
	}
	if ownNet {
		spec.Network.Mode = guest.NetNone
	}
	caps, err := spec.Bounding()
	if err != nil {
		return vcontext.Rights{}, err
	}
	out := vcontext.Rights{
		LastCap:    cred.LastCap(),
		NoNewPrivs: want.NoNewPrivileges,
		Rlimits:    limits,
	}
	out.Caps = uint64(caps) & (1<<(out.LastCap+1) - 1)
	if !userns {
		out.Caps &= cred.Permitted()
	}
	if want.Seccomp == guest.SeccompNone {
		return out, nil
	}
	out.Filter, err = seccomp.Compile(seccomp.Policy{
		Extra: want.Syscalls, Nesting: want.Nesting, Private: userns, Capped: userns, Notify: hidden,
	})
	out.Listened = hidden
	return out, err
}

// defaultPath is the PATH of a guest's root, in the order of Debian's login.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// program is what becomes of a spec's init section.
func program(s *guest.Spec) vcontext.Program {
	env := map[string]string{"PATH": defaultPath, "HOME": "/root", "container": "vserver"}
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
	p := vcontext.Program{Paths: argv[:1], Argv: argv, Env: environ(env)}
	switch s.Init.Style {
	case guest.InitSysv:
		p.Argv = reaper.Args(reaper.Sysv, env["PATH"], argv)
	case guest.InitCommand:
		p.Argv = reaper.Args(reaper.Command, env["PATH"], argv)
	}
	return p
}

// note is what is written down of the run once the init's pid is known.
func (r *run) note(pid int, began uint64) *note {
	return &note{
		PID: pid, Began: began, Started: time.Now(),
		XID: r.spec.XID, Base: r.plan.Base, Userns: r.plan.Userns, OwnNet: r.plan.OwnNet, Hidden: r.plan.Listened,
		OwnTime: r.plan.Offsets != "", Style: r.spec.Init.Style,
		Mode: r.spec.Network.Mode, Addrs: r.addresses(), Env: r.spec.Init.Environment,
		Rights: r.spec.Rights, Rlimits: r.spec.Limits.Rlimits, Nproc: r.plan.Pids,
	}
}

// complain says what went wrong and is no reason to stop there.
func (r *run) complain(err error) error {
	if err != nil {
		fmt.Fprintf(r.output, "%s: %v\n", r.name, err)
	}
	return nil
}

// hook runs the host's programs for a point of the guest's life.
func (r *run) hook(ctx context.Context, point string, programs []string) error {
	for _, p := range programs {
		if err := runHook(ctx, p, point, r.name, r.output); err != nil {
			return err
		}
	}
	return nil
}

// born is when a process began, in ticks since boot: field 22 of /proc/PID/stat.
func born(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in field 2 may hold blanks and brackets.
	rest := string(text[strings.LastIndexByte(string(text), ')')+1:])
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return math.MaxUint64, fmt.Errorf("/proc/%d/stat: %w", pid, guest.ErrInvalid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
