package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

// witness is a test that remembers how it was ended.
type witness struct {
	testing.TB
	end string
}

func (w *witness) Helper() {}

func (w *witness) Skipf(format string, args ...any) { w.say("skip", format, args) }

func (w *witness) Fatalf(format string, args ...any) { w.say("fail", format, args) }

// say keeps the first end only: a real test would not have gone on.
func (w *witness) say(how, format string, args []any) {
	if w.end == "" {
		w.end = how + " " + fmt.Sprintf(format, args...)
	}
}

func TestAsk(t *testing.T) {
	for _, c := range []struct{ must, need, missing, want string }{
		{"", "root", "", ""},
		{"root", "root", "", ""},
		{"", "root", "uid is 7", "skip need root: uid is 7"},
		{"vm", "root", "uid is 7", "skip need root: uid is 7"},
		{"vm, root", "root", "uid is 7", "fail need root: uid is 7, though VSERVER_MUST=vm, root"},
		{"controllers", "controllers:io", "gone", "fail need controllers:io: gone, though VSERVER_MUST=controllers"},
		{"controllers:cpu", "controllers:io", "gone", "skip need controllers:io: gone"},
		{"control", "controllers", "gone", "skip need controllers: gone"},
	} {
		t.Setenv(MustVar, c.must)
		w := &witness{TB: t}
		ask(w, c.need, c.missing)
		if w.end != c.want {
			t.Errorf("must %q, need %q: %q, want %q", c.must, c.need, w.end, c.want)
		}
	}
}

// TestGuards holds every guard against what is known here by other means: what
// surely is not there must be missed, what surely is must be found.
func TestGuards(t *testing.T) {
	t.Setenv(MustVar, "")
	t.Setenv("GOCACHE", os.Getenv("GOCACHE")) // put back at the end
	root := os.Getuid() == 0
	for _, c := range []struct {
		name  string
		guard func(testing.TB)
		there bool
	}{
		{"Root", Root, root},
		{"Unprivileged", Unprivileged, !root},
		{"Controllers of no kernel", func(t testing.TB) { Controllers(t, "fortune") }, false},
		{"ControllersV1 of no kernel", func(t testing.TB) { ControllersV1(t, "fortune") }, false},
		{"Filesystem of no kernel", func(t testing.TB) { Filesystem(t, "floppyfs") }, false},
		{"Filesystem tmpfs", func(t testing.TB) { Filesystem(t, "tmpfs") }, root},
		{"Kernel 5.10", func(t testing.TB) { Kernel(t, 5, 10) }, true},
		{"Kernel 99.0", func(t testing.TB) { Kernel(t, 99, 0) }, false},
		{"Command sh", func(t testing.TB) { Command(t, "sh") }, true},
		{"Command that nobody has", func(t testing.TB) { Command(t, "no-such-program") }, false},
		{"Go of a stranger", func(t testing.TB) { os.Setenv("GOCACHE", "/nonexistent"); Go(t) }, false},
		{"Long", Long, !testing.Short()},
		{"Swift", Swift, !InVM()},
	} {
		w := &witness{TB: t}
		c.guard(w)
		if there := w.end == ""; there != c.there {
			t.Errorf("%s: there is %v (%s), want %v", c.name, there, w.end, c.there)
		}
	}
}

func TestNamespaces(t *testing.T) {
	Root(t)
	Namespaces(t, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET|syscall.CLONE_NEWPID)
	t.Setenv(MustVar, "")
	w := &witness{TB: t}
	Namespaces(w, syscall.CLONE_NEWUSER|syscall.CLONE_FS) // refused by every kernel
	if !strings.HasPrefix(w.end, "skip need namespaces: ") {
		t.Errorf("an impossible set of namespaces: %q", w.end)
	}
}

func TestParseMounts(t *testing.T) {
	got := parseMounts(`31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext4 /dev/root rw,errors=continue
a line that is no mount
`)
	want := []mount{
		{"/", "/sys/fs/cgroup", "tmpfs", "tmpfs", "rw,mode=755"},
		{"/mnt1", "/mnt2", "ext4", "/dev/root", "rw,errors=continue"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseStat(t *testing.T) {
	name, parent := parseStat("17 (a) b (c) S 4 17 17 0 -1")
	if name != "a) b (c" || parent != 4 {
		t.Errorf("got %q, %d", name, parent)
	}
	if name, parent = parseStat("17 nothing"); name != "" || parent != 0 {
		t.Errorf("got %q, %d of nonsense", name, parent)
	}
}

// leakVar makes the tests below leave something behind, in a process of their own.
const leakVar = "VSERVER_TEST_LEAK"

// TestMainFindsLeaks runs this test binary again, once for each way to leave
// something behind, and wants each found; and once for no way, and wants peace.
func TestMainFindsLeaks(t *testing.T) {
	if os.Getenv(leakVar) != "" {
		t.Skip("in the process that leaks")
	}
	for _, c := range []struct {
		what, want string
		root       bool
	}{
		{"nothing", "", false},
		{"fd", "open file ", false},
		{"child", "process ", false},
		{"daemon", "process ", false},
		{"file", "file ", false},
		{"mount", "mount ", true},
		{"cgroup", "cgroup ", true},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.root {
				Root(t)
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestLeak$", "-test.v=false")
			cmd.Env = append(os.Environ(), leakVar+"="+c.what, AloneVar+"=", "VSERVER_TEST_PATIENCE=0s")
			out, _ := cmd.CombinedOutput()
			code := cmd.ProcessState.ExitCode()
			if c.want == "" {
				if code != 0 {
					t.Errorf("nothing left, yet exit code %d:\n%s", code, out)
				}
				return
			}
			if code != LeakExit || !strings.Contains(string(out), "\n\t"+c.want) {
				t.Errorf("exit code %d, want %d with %q in:\n%s", code, LeakExit, c.want, out)
			}
			clean(t, string(out))
		})
	}
}

// clean takes away what a process left on purpose, as its report names it.
func clean(t *testing.T, report string) {
	for line := range strings.Lines(report) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "mount":
			if _, err := os.Stat(f[1]); err == nil {
				t.Errorf("%s is still there", f[1])
			}
		case "cgroup":
			if err := os.Remove(f[1]); err != nil {
				t.Error(err)
			}
		case "process":
			var pid int
			if _, err := fmt.Sscan(f[1], &pid); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// TestLeak leaves behind what leakVar says.
func TestLeak(t *testing.T) {
	what := os.Getenv(leakVar)
	if what == "" {
		return
	}
	var err error
	switch what {
	case "fd":
		_, err = syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	case "child":
		err = exec.Command("sleep", "5").Start()
	case "daemon":
		err = exec.Command("sh", "-c", "sleep 5 >/dev/null 2>&1 </dev/null & sleep 0.1").Run()
	case "file":
		err = os.WriteFile(filepath.Join(os.TempDir(), "left"), nil, 0o600)
	case "mount":
		dir := filepath.Join(os.TempDir(), "mnt")
		if err = os.Mkdir(dir, 0o700); err == nil {
			err = syscall.Mount("left", dir, "tmpfs", 0, "")
		}
	case "cgroup":
		err = os.Mkdir(filepath.Join(Cgroup2(t), Dirs(t).Cgroup), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTempDirUnmounts(t *testing.T) {
	Root(t)
	kept := filepath.Join(t.TempDir(), "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := TempDir(t)
	if err := syscall.Mount(filepath.Dir(kept), dir, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if got := unmountBelow(dir); !slices.Equal(got, []string{dir}) {
		t.Errorf("unmounted %q, want %q", got, dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "kept")); err == nil {
		t.Errorf("%s is still mounted", dir)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

func TestDirsAreApart(t *testing.T) {
	a, b := Dirs(t), Dirs(t)
	if a.Cgroup == b.Cgroup || a.Run == b.Run {
		t.Errorf("two worlds share a place: %v and %v", a, b)
	}
	if !strings.Contains(a.Cgroup, mark()) {
		t.Errorf("cgroup %s has no sign of its maker %s", a.Cgroup, mark())
	}
}

func TestBusybox(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "root")
	Busybox(t, dir)
	out, err := exec.Command(filepath.Join(dir, "bin/busybox"), "echo", "hello").Output()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("busybox of the root: %q, %v", out, err)
	}
	if target, err := os.Readlink(filepath.Join(dir, "bin/sh")); err != nil || target != "/bin/busybox" {
		t.Errorf("bin/sh is %q, %v", target, err)
	}
}
