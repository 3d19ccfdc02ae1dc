package vcontext

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vserver/guest"
	"vserver/kernel/seccomp"
)

var update = flag.Bool("update", false, "write the golden files") //house:allow a flag of the test

// fixed is a context with everything decided, so that its tables are the same on
// every machine.
func fixed() Start {
	return Start{
		Userns: true, OwnNet: true, Base: 524288, Hostname: "web1", Pids: 4096,
		Offsets: "monotonic -1 0\nboottime -1 0\n", Targets: []string{"/", "/usr", "/dev", "/dev/pts", "/run"},
		TTY:  true,
		Init: Program{Paths: []string{"/sbin/init"}, Argv: []string{"/sbin/init"}, Env: []string{"container=vserver"}},
		Rights: Rights{Caps: 1<<41 - 1 - 1<<16, LastCap: 40, NoNewPrivs: true,
			Rlimits: map[string]guest.Rlimit{"nofile": {Soft: 1024, Hard: 4096}, "core": {}}},
	}
}

// The tables are golden: who changes what a first process does sees it here.
func TestTables(t *testing.T) {
	plain := fixed()
	bare := fixed()
	bare.Userns, bare.OwnNet, bare.TTY, bare.NoNewPrivs = false, false, false, false
	nested := fixed()
	nested.Nesting = true
	capped := fixed()
	capped.Ceilings = map[string]int{"inotify_instances": 99, "net_namespaces": 7, "msgqueue": 1000, "ptys": 5}
	raise := guest.Spec{Limits: guest.Limits{Ceilings: capped.Ceilings}}
	reaped := fixed()
	reaped.Reaper = true
	listened := fixed()
	listened.Reaper, listened.Listened, listened.Filter = true, true, seccomp.Filter{{}}
	enter := Enter{Pidfd: 7, Userns: true, OwnNet: true, OwnTime: true, UID: 33, GID: 33, Groups: []uint32{4},
		Dir: "/var/www", Stdio: [3]int{0, 1, 2},
		Program: Program{Paths: []string{"/bin/id"}, Argv: []string{"id"}}, Rights: fixed().Rights}
	sealed := enter
	sealed.Userns, sealed.Sealed, sealed.Argv = false, 9, []string{"vserver-init", "exec", "/bin/id", "--", "id"}
	ready := enter
	ready.Search, ready.Served, ready.Listened, ready.Filter = []string{"/usr/bin", "/bin"}, "calls web1", true, seccomp.Filter{{}}
	ready.Joins = []string{"/sys/fs/cgroup/memory/vserver/web1/tasks"}
	for name, lines := range map[string][]string{
		"enter-ready":  ready.Table().Strings(),
		"enter-sealed": sealed.Table().Strings(),
		"start":        plain.Table().Strings(),
		"start-bare":   bare.Table().Strings(),
		"start-nest":   nested.Table().Strings(),
		"start-capped": capped.Table().Strings(),
		"raise":        Raise(9, 8, &raise, []string{"net_namespaces", "inotify_instances", "fanotify_marks", "msgqueue", "ptys"}).Strings(),
		"start-reap":   reaped.Table().Strings(),
		"start-told":   listened.Table().Strings(),
		"enter":        enter.Table().Strings(),
	} {
		golden(t, name, strings.Join(lines, "\n")+"\n")
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not as it was; go test -update shows how in git diff. Got:\n%s", path, got)
	}
}

// Rights are given up in an order in which each step still may be made, and nothing
// comes between the last of them and the program.
func TestOrder(t *testing.T) {
	s := fixed()
	lines := s.Table().Strings()
	at := func(prefix string) int {
		return slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, prefix) })
	}
	order := []string{"wait for outer id map", "open sys/user/max_user_namespaces", "make namespaces",
		"open /proc/PID/uid_map", "end", "make file system proc", "wait for mounts", "pivot_root",
		"unmount the host's root", "mount /proc", "set file 0", "close other files", "set no_new_privs",
		"drop capability 16", "set capabilities", "exec /sbin/init"}
	for i, name := range order {
		if at(name) < 0 {
			t.Errorf("no entry %q", name)
		} else if i > 0 && at(name) < at(order[i-1]) {
			t.Errorf("%q comes before %q", name, order[i-1])
		}
	}
	if last := lines[len(lines)-1]; last != "exec /sbin/init" {
		t.Errorf("last is %q", last)
	}
}
