package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// instances is the test's own program in a guest, where it makes that many instances of
// inotify; see TestMain.
const instances = "/usr/bin/instances"

// Ceilings are changed while the guest runs, all or none, and those that have to wait are
// named.
func TestCeilingsOfRunningGuest(t *testing.T) {
	w := newWorld(t)
	w.instances()
	plain := w.guest("plain", func(s *guest.Spec) { s.Limits.Ceilings = map[string]int{"inotify_instances": 20} })
	w.start(plain)
	w.tries(plain, "+"+instances+" 20", "-"+instances+" 21")
	w.set(plain, "limits.ceilings.inotify_instances=7")
	w.tries(plain, "+"+instances+" 7", "-"+instances+" 8")
	w.set(plain, "limits.ceilings.inotify_instances=30", "limits.ceilings.net_namespaces=1", "limits.ceilings.cgroups=50")
	w.tries(plain, "+"+instances+" 30", "-"+instances+" 31", "-unshare -n true")
	w.set(plain, "limits.ceilings.inotify_instances=", "limits.ceilings.net_namespaces=", "limits.ceilings.inotify_watches=100")
	w.tries(plain, "+"+instances+" 31", "+unshare -n true")

	c, err := w.Set(plain, []string{"limits.ceilings={inotify_instances: 40, memlock: 1000000, ptys: 10, cgroup_depth: 3}"})
	if want := []string{"limits.ceilings.memlock"}; err != nil || !slices.Equal(c.Restart, want) {
		t.Errorf("waits %v, want %v, %v", c.Restart, want, err)
	}
	w.tries(plain, "+"+instances+" 40", "-"+instances+" 41")
	out, err := w.program("", "set", string(plain), "limits.ceilings.memlock=2000000", "limits.ceilings.inotify_instances=41")
	if err != nil || !strings.Contains(string(out), "limits.ceilings.memlock: counts from the next start") || strings.Contains(string(out), "inotify") {
		t.Errorf("said %q, %v", out, err)
	}
	w.tries(plain, "+"+instances+" 41", "-"+instances+" 42")
	w.bounded(plain, "2048", "3")

	w.tries(plain, "+test $(mount | sed -n 's/.*devpts.*max=\\([0-9]*\\).*/\\1/p') = 10")
	// The mode of terminals stays.
	w.tries(plain, "+mount | grep devpts | grep -q 'mode=620,ptmxmode=666'")

	// What the kernel does not have: nothing is changed.
	_, err = w.Set(plain, []string{"limits.ceilings.inotify_instances=50", "limits.ceilings.cgroup_depth=4", "limits.hugepages.16M=16M"})
	if !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("pages of a size that is not there: %v", err)
	}
	w.tries(plain, "+"+instances+" 41", "-"+instances+" 42")
	w.bounded(plain, "2048", "3")
	if spec, err := w.Load(plain); err != nil || spec.Limits.Ceilings["inotify_instances"] != 41 {
		t.Errorf("%+v, %v", spec.Limits.Ceilings, err)
	}
}

// Locked memory of System V is bounded in bytes, for all users of a guest together.
func TestMemlockCeiling(t *testing.T) {
	w := newWorld(t)
	w.instances()
	n := w.guest("locks", func(s *guest.Spec) { s.Limits.Ceilings = map[string]int{"memlock": 256 << 10} })
	w.start(n)
	for _, c := range []struct{ user, want string }{{"", "4 cannot allocate memory"}, {"7", "0 cannot allocate memory"}} {
		if out, _ := w.run(n, Command{Args: []string{instances, "exhaust", "memlock"}, User: c.user}); out != c.want {
			t.Errorf("user %q locked %q of 64 KiB", c.user, out)
		}
	}
	if out, _ := w.sh(n, "grep 'Max locked' /proc/1/limits"); !strings.Contains(out, " 262144  ") {
		t.Errorf("limits of the init: %s", out)
	}
}

// A guest whose init has gone deeper into user namespaces does not escape its ceilings.
func TestCeilingsOfDeepGuest(t *testing.T) {
	w := newWorld(t)
	w.instances()
	n := w.guest("deep", func(s *guest.Spec) {
		s.Rights.Nesting = true
		s.Limits.Ceilings = map[string]int{"inotify_instances": 7}
		s.Init = guest.Init{Style: guest.InitPlain, StopTimeout: guest.Duration(time.Second), Command: []string{"/usr/bin/unshare", "-U", "-r",
			"/bin/sh", "-c", "while :; do " + instances + " 8 >/dev/null; echo $? >/code; sleep 0.05; done"}}
	})
	w.start(n)
	says := func(want string) {
		t.Helper()
		eventually(t, want, func() bool {
			code, _ := os.ReadFile(filepath.Join(w.Dirs.Guest(n), "upper/code"))
			return string(code) == want+"\n"
		})
	}
	says("1")
	w.set(n, "limits.ceilings.inotify_instances=8")
	says("0")
	w.set(n, "limits.ceilings.inotify_instances=7")
	says("1")
}

// instances puts the program of that name into the shared root.
func (w *world) instances() {
	w.t.Helper()
	w.ownProgram()
	if err := os.Symlink("attributes", filepath.Join(w.Dirs.Pool(), "images/box/tree", instances)); err != nil {
		w.t.Fatal(err)
	}
}

// bounded holds how many groups the guest may make, and how deep.
func (w *world) bounded(n guest.Name, most, depth string) {
	w.t.Helper()
	cg, err := cgroup.Find()
	if err != nil {
		w.t.Fatal(err)
	}
	g, err := cg.Open(w.Dirs.Group(n))
	if err != nil {
		w.t.Fatal(err)
	}
	defer g.Close()
	for file, want := range map[string]string{"cgroup.max.descendants": most, "cgroup.max.depth": depth} {
		if got, err := g.Read(file); err != nil || got != want {
			w.t.Errorf("%s: %s, want %s, %v", file, got, want, err)
		}
	}
}
