package vcontext

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"

	"vserver/guest"
	"vserver/kernel/mount"
	"vserver/kernel/seccomp"
	"vserver/rootfs"
	"vserver/spawn"
	"vserver/vcontext/elder"
)

// Start is a process context about to be made: all that the first process needs to
// know, decided beforehand.
type Start struct {
	Userns      bool
	Nesting     bool
	OwnNet      bool   // a network namespace of its own
	OwnLimits   bool   // the kernel keeps the guest from the limits of its group (cgroups-v2, nsdelegate)
	Base        uint32 // host id of the guest's root
	Hostname    string
	Pids        int            // ceiling of processes; 0 for none
	Ceilings    map[string]int // as in guest.Limits
	Proc        int            // with a user namespace: descriptor of a procfs that nobody else looks into
	Offsets     string         // for /proc/self/timens_offsets; "" without a time namespace
	Targets     []string       // of the mounts that Send brings, in order, the root first
	Views       []View         // of the guest's view, whose mount is the last of Targets; see ViewAt
	Hidden      []string       // directories of sysfs that tell of the machine's size, and are empty for the guest
	HiddenFiles []string       // of /proc, likewise
	Places      []Place        // of the mounts that are sent with the first word, or without a user namespace after those of Targets
	TTY         bool           // the console is a terminal, which the init controls
	Reaper      bool           // Send brings the reaper's program after the mounts and the console
	Scripts     int            // number of the eventfd, which Send brings last, by which the reaper tells of their end; 0: none
	Sealed      bool           // that program only executes the init: see reaper.Exec
	Joins       []int          // descriptors of files that take the guest into its cgroup v1 limits
	Elder       int            // the one that takes it into the v1 group of package elder; 0: none
	Init        Program
	UID, GID    uint32   // that the init runs as, as the guest counts
	Groups      []uint32 // supplementary ones
	Rights
}

// View is a file or directory of the guest's view that takes the place of the kernel's.
type View struct{ Name, Target string }

// ViewAt is where the guest's view is mounted while its files are bound to their
// targets. Nothing of it is left there.
const ViewAt = rootfs.Empty

// Program is what is executed in a guest.
type Program struct {
	Paths []string // tried in order
	Argv  []string
	Env   []string
}

// Rights are what a process of a guest keeps.
type Rights struct {
	Caps       uint64 // bounding set, bit by number
	LastCap    int    // highest capability of this kernel
	Filter     seccomp.Filter
	Listened   bool // Filter leaves calls to a supervisor: see spawn.Child.Listener
	NoNewPrivs bool
	// Personality is what personality(2) takes; 0: as the caller's.
	Personality uint32
	Rlimits     map[string]guest.Rlimit
	Nice        int          // 0: as the caller's
	IOPrio      guest.IOPrio // 0: by the niceness
}

// Options gives how the first process is cloned; it is born in the group cgroup.
func (s *Start) Options(cgroup int) spawn.Options {
	o := spawn.Options{Cgroup: cgroup, Share: true}
	if s.Userns {
		o.Flags, o.Owner = spawn.NewUser, s.Base
		if len(s.Places) > 0 {
			o.Flags |= spawn.NewMount
		}
	}
	return o
}

// IDMap is the text of an id map: ids from first on are those from outside on in the
// namespace above.
func IDMap(first, outside uint32) string {
	return fmt.Sprintf("%d %d %d", first, outside, guest.IDs)
}

// Table gives what the first process does.
func (s *Start) Table() *spawn.Table {
	t := &spawn.Table{}
	s.Rights.order(t)
	s.namespaces(t)
	s.unlock(t)
	// What needs nothing from the parent comes first: it makes the layers meanwhile.
	t.Keyring()
	t.Hostname(s.Hostname)
	if s.OwnNet {
		t.LoopbackUp()
	}
	if s.leads() {
		t.Session()
	}
	t.Umask(0)
	own := s.ownMounts(t)
	s.Rights.limit(t)

	placed, n := s.fetch(t)
	n += len(s.Targets)
	files := t.Receive("mounts", n+3+btoi(s.Reaper)+btoi(s.Scripts > 0))
	mounts, stdio, rest := files[:n], files[n:][:3], files[n+3:]
	if s.Userns {
		// Only now: the id map is written when the parent speaks.
		t.Become(0, 0, nil)
	}
	s.attach(t, mounts[:len(s.Targets)], own)
	s.place(t, append(placed, mounts[len(s.Targets):]...))
	t.Shared()
	t.Umask(0o022)
	t.Stdio([3]spawn.Reg(stdio))
	s.exec(t, rest)
	return t
}

// leads tells whether the init leads its session. One that does not take the terminal
// does not, as on a machine: it would get the terminal by opening it (sysvinit), and never
// let go.
func (s *Start) leads() bool { return s.TTY || s.Reaper && !s.Sealed }

// namespaces makes the guest's namespaces, and its first process in them.
func (s *Start) namespaces(t *spawn.Table) {
	flags := uint64(spawn.NewMount | spawn.NewPid | spawn.NewUTS | spawn.NewIPC | spawn.NewCgroup)
	if s.OwnNet {
		flags |= spawn.NewNet
	}
	if s.Offsets != "" {
		t.Unshare("make time namespace", spawn.NewTime)
	}
	if s.Userns {
		flags |= spawn.NewUser
		s.outside(t)
	}
	t.Show()
	if s.Offsets != "" {
		t.WriteFile("/proc/self/timens_offsets", s.Offsets)
	}
	if !s.leads() {
		t.Session()
	}
	// Before the cgroup namespace, whose root is where its maker is.
	for _, fd := range s.Joins {
		t.WriteFd("tasks of a v1 group", fd, "0")
	}
	if s.Elder > 0 {
		t.WriteFd("tasks of the v1 group", s.Elder, "0")
	}
	t.Fork("make namespaces", flags, func(pid spawn.Reg) {
		if s.Userns {
			// Only a process of the outer namespace may write the map of the inner. The outer
			// one begins at 0 as well: it serves to show the shared layers with the guest's
			// ids, while this process is still making the guest's namespaces.
			m := IDMap(0, 0)
			t.WriteOf(s.Proc, pid, "uid_map", m)
			t.WriteOf(s.Proc, pid, "gid_map", m)
		}
	})
}

// exec gives up what is not kept and executes the init; rest has the reaper's program
// when there is one, and what that tells of scripts by.
func (s *Start) exec(t *spawn.Table, rest []spawn.Reg) {
	if s.TTY && (!s.Reaper || s.Sealed) {
		t.Terminal()
	}
	t.ResetSignals()
	t.CloseOthers()
	if !s.Reaper {
		s.Rights.confine(t, s.Rights.filter, s.UID, s.GID, s.Groups)
		t.Exec(s.Init.Paths, s.Init.Argv, s.Init.Env)
		return
	}
	if s.Listened {
		t.KeepGate()
	}
	var scripts spawn.Reg
	if s.Scripts > 0 {
		scripts = t.Aside("the scripts' end", rest[1])
	}
	program := t.HandReport(s.Init.Paths[0], rest[0])
	if s.Scripts > 0 {
		t.HandOn("the scripts' end", scripts, s.Scripts)
	}
	s.Rights.confine(t, s.Rights.filter, s.UID, s.GID, s.Groups)
	t.ExecFile("reaper", program, s.Init.Argv, s.Init.Env)
}

// outside is what happens in the outer user namespace, where the guest's root has no
// rights.
func (s *Start) outside(t *spawn.Table) {
	if len(s.Places) == 0 {
		t.Await("outer id map")
	} else {
		s.lock(t, t.Receive("outer id map and mounts", len(s.Places)))
	}
	s.rlimits(t)
	s.ceilings(t)
}

// rlimits sets those ceilings of the guest that are limits of setrlimit(2): the limit in
// force when the inner namespace is made holds for all its processes together (5.14).
func (s *Start) rlimits(t *spawn.Table) {
	for _, c := range guest.Ceilings() {
		limit, rlimit := guest.RlimitNumber(c.Name)
		n := uint64(s.ceiling(c))
		switch {
		case n == 0, !rlimit, c.Shared:
		case c.Name == memlock:
			// The kernel takes these bytes for pages, which it counts: user_shm_lock.
			t.Rlimit(c.Name, limit, max(n/uint64(os.Getpagesize()), 1), n)
		default:
			t.Rlimit(c.Name, limit, n, n)
		}
	}
	if s.Pids > 0 {
		nproc, _ := guest.RlimitNumber("nproc")
		t.Rlimit("nproc", nproc, uint64(s.Pids), uint64(s.Pids))
	}
}

// memlock is the ceiling that processes have otherwise than their user namespace.
const memlock = "memlock"

// unlock gives the first process the bytes of what rlimits took for pages.
func (s *Start) unlock(t *spawn.Table) {
	if n := uint64(s.Ceilings[memlock]); n != 0 && s.Userns {
		limit, _ := guest.RlimitNumber(memlock)
		t.Rlimit(memlock, limit, n, n)
	}
}

// ceilings sets the others in the outer user namespace, where the guest's root has no
// rights. What a namespace holds of a kind is counted in those above it too, so nothing
// that the guest makes within its own escapes them.
//
// The names of these files lead to different ones in each user namespace, and the kernel
// keeps all that were looked up in one chain below one procfs: with 400 guests a look
// there takes 0.2 ms. So it is done in a procfs of the guest's own.
func (s *Start) ceilings(t *spawn.Table) {
	for _, c := range guest.Ceilings() {
		if n := s.ceiling(c); n != 0 && outer(c) {
			t.WriteFileAt(s.Proc, ceilingFile(c.Name), strconv.Itoa(n))
		}
	}
}

// outer tells the ceilings that are settings of the outer user namespace.
func outer(c guest.Ceiling) bool {
	_, rlimit := guest.RlimitNumber(c.Name)
	return !rlimit && !c.Shared
}

// ceiling is what the guest has of one; 0 leaves it at the host's own.
func (s *Start) ceiling(c guest.Ceiling) int {
	switch n := s.Ceilings[c.Name]; {
	case n != 0:
		return n
	case c.Name == "user_namespaces" && s.Nesting:
		return guest.NestedUsers
	}
	return c.Default
}

// ceilingFile is the setting of the user namespace that its reader is in, below a procfs.
func ceilingFile(name string) string { return "sys/user/max_" + name }

// Raise gives what a process does that sets ceilings of a guest which runs to what spec
// says of them: those of the names that are settings of the outer user namespace. userns
// is that, proc a procfs. What is the host's own has no bound there, as in a new
// namespace; the host's counts for the guest in the one above.
func Raise(userns, proc int, spec *guest.Spec, names []string) *spawn.Table {
	s := Start{Nesting: spec.Rights.Nesting, Ceilings: spec.Limits.Ceilings}
	t := &spawn.Table{}
	t.Hide()
	t.Setns(userns, spawn.NewUser)
	for _, c := range guest.Ceilings() {
		if !outer(c) || !slices.Contains(names, c.Name) {
			continue
		}
		n := s.ceiling(c)
		if n == 0 {
			n = math.MaxInt32
		}
		t.WriteFileAt(proc, ceilingFile(c.Name), strconv.Itoa(n))
	}
	t.End()
	return t
}

// own are the mounts that the first process makes itself, since they belong to its
// namespaces.
type own struct{ proc, sys, cgroup, elder, mqueue spawn.Reg }

const quiet = mount.NoSuid | mount.NoDev | mount.NoExec

func (s *Start) ownMounts(t *spawn.Table) (o own) {
	if !s.Userns {
		t.Private()
	}
	// proc and sysfs must be made while the host's are still to be seen: the kernel
	// gives a user namespace no more of them than it sees already.
	o.proc = t.NewFS("proc", quiet)
	if s.OwnNet { // else the host's comes with the mounts
		o.sys = t.NewFS("sysfs", quiet|mount.ReadOnly)
	}
	if s.Elder > 0 {
		o.cgroup = t.NewFS("tmpfs", quiet, "mode=755")
		o.elder = t.NewFS("cgroup", quiet, elder.Options()...)
	} else {
		o.cgroup = t.NewFS("cgroup2", quiet)
	}
	o.mqueue = t.NewFS("mqueue", quiet)
	return o
}

func (s *Start) attach(t *spawn.Table, made []spawn.Reg, o own) {
	t.Root(made[0])
	for i, target := range s.Targets[1:] {
		t.AttachAt(made[i+1], target, 0o755)
	}
	t.AttachAt(o.proc, "/proc", 0o555)
	if s.OwnNet {
		t.AttachAt(o.sys, "/sys", 0o555)
	}
	t.Attach(o.cgroup, "/sys/fs/cgroup")
	if s.Elder > 0 {
		t.AttachAt(o.elder, "/sys/fs/cgroup/systemd", 0o755)
	}
	t.Attach(o.mqueue, "/dev/mqueue")
	s.showViews(t)
	if !s.Nesting {
		s.mask(t)
	}
	if s.OwnNet {
		// All of the guest's groups may ping without further rights: distributions that give
		// their ping none set this to ids that a guest has not, and fail.
		t.WriteFile("/proc/sys/net/ipv4/ping_group_range", "0 "+strconv.Itoa(guest.IDs-1))
	}
}

// showViews binds the files of the view to their places.
func (s *Start) showViews(t *spawn.Table) {
	if len(s.Views) == 0 {
		return
	}
	if len(s.Views) > 1 {
		t.List(ViewAt)
	}
	for _, v := range s.Views {
		t.BindIfThere(ViewAt+"/"+v.Name, v.Target, 0)
	}
	t.Unmount(ViewAt)
	if len(s.Hidden) > 0 {
		t.Cover(rootfs.Empty, s.Hidden...)
	}
	if len(s.HiddenFiles) > 0 {
		t.Cover("/dev/null", s.HiddenFiles...)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
