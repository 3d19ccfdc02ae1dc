package guest

import (
	"slices"
	"strings"
)

// Ceiling is the most that a guest may have of what the host's kernel has one pool of
// for everybody. Who asks for more gets what the errno of the table in doc/limits.md
// says; the guest's root cannot lift it.
type Ceiling struct {
	Name string
	// Default is what a guest gets that does not name the ceiling. 0 is the host's own
	// value, which the kernel counts for each guest apart.
	Default int
	// Host names the setting of the host that Default 0 means.
	Host string
	// Shared tells that the ceiling holds guests without a user namespace, too.
	Shared bool
}

// Ceilings gives them in the order in which they are set: first those of the outer user
// namespace, by the names that the kernel has for them in /proc/sys/user without "max_".
// A namespace of the guest's own that holds it counts as one.
func Ceilings() []Ceiling {
	return []Ceiling{
		{Name: "user_namespaces", Default: 1}, {Name: "net_namespaces", Default: 128},
		{Name: "mnt_namespaces", Default: 4096}, {Name: "pid_namespaces", Default: 1024},
		{Name: "uts_namespaces", Default: 1024}, {Name: "ipc_namespaces", Default: 1024},
		{Name: "cgroup_namespaces", Default: 1024}, {Name: "time_namespaces", Default: 128},
		{Name: "inotify_instances", Host: "fs.inotify.max_user_instances"},
		{Name: "inotify_watches", Host: "fs.inotify.max_user_watches"},
		{Name: "fanotify_groups", Host: "fs.fanotify.max_user_groups"},
		{Name: "fanotify_marks", Host: "fs.fanotify.max_user_marks"},
		// Limits of setrlimit(2) that hold all processes of a user namespace together.
		{Name: "sigpending", Host: "RLIMIT_SIGPENDING"}, {Name: "msgqueue", Host: "RLIMIT_MSGQUEUE"},
		{Name: "memlock", Host: "RLIMIT_MEMLOCK"},
		{Name: "ptys", Default: 1024, Shared: true}, // of kernel.pty.max, 4096 for the whole host
		// Far above what systemd (50 to 100 groups, 6 deep) or dozens of containers make.
		{Name: "cgroups", Default: 2048, Shared: true}, {Name: "cgroup_depth", Default: 32, Shared: true},
	}
}

// Live tells whether a guest that runs gets another value at once. Limits of setrlimit(2)
// are taken over by the kernel when the guest's user namespace is made.
func (c Ceiling) Live() bool {
	_, rlimit := RlimitNumber(c.Name)
	return !rlimit
}

// NestedUsers is the default ceiling of user namespaces of a guest with rights.nesting.
const NestedUsers = 512

// CeilingNames gives the names of Ceilings.
func CeilingNames() []string {
	var names []string
	for _, c := range Ceilings() {
		names = append(names, c.Name)
	}
	return names
}

// Ceiling gives a ceiling by its name, as the guest has it: what it asked for, or the
// default; 0 is the host's own.
func (l *Limits) Ceiling(name string) int {
	if n, ok := l.Ceilings[name]; ok && n != 0 {
		return n
	}
	for _, c := range Ceilings() {
		if c.Name == name {
			return c.Default
		}
	}
	return 0
}

// ceilings checks those that a guest asks for.
func (v *validator) ceilings(s *Spec) {
	names := CeilingNames()
	for _, name := range sorted(s.Limits.Ceilings) {
		at, n := "limits.ceilings."+name, s.Limits.Ceilings[name]
		i := slices.Index(names, name)
		switch {
		case i < 0:
			if near := Nearest(name, names); near != "" {
				v.bad(at, "no such ceiling; did you mean %s?", near)
			} else {
				v.bad(at, "no such ceiling; want one of %s", strings.Join(names, ", "))
			}
		case s.Userns == UsernsNone && !Ceilings()[i].Shared:
			v.bad(at, "has no meaning with userns: none: user namespaces hold it")
		case name == "user_namespaces" && n > 1 && !s.Rights.Nesting:
			v.bad(at, "%d: more than the guest's own need rights.nesting", n)
		default:
			v.within(at, n, float64(n))
		}
	}
}

func ceilingRange(path string) Range {
	if path == "limits.ceilings.cgroup_depth" {
		return Range{1, 100} // so deep does kernel/cgroup follow, to remove them
	}
	return Range{1, 1<<31 - 1} // the kernel's counters have 32 bits
}
