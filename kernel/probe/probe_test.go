package probe

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// insideVar has this test binary, started again by itself, act as the program named.
const insideVar = "VSERVER_TEST_INSIDE"

func TestMain(m *testing.M) {
	if os.Getenv(insideVar) == "no user namespaces" {
		withoutUserNamespaces()
	}
	need.Main(m)
}

func TestEveryFeatureIsTold(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Host(Options{}) {
		if r.Name == "" || strings.ContainsAny(r.Name, " A_") || r.Gives == "" || r.Brings == "" || r.Lost == "" {
			t.Errorf("incomplete: %+v", r)
		}
		if seen[r.Name] {
			t.Errorf("%s: twice", r.Name)
		}
		seen[r.Name] = true
		if r.State == No && r.Found == "" {
			t.Errorf("%s: missing, and no word why", r.Name)
		}
		t.Logf("%-24s %-8s %s", r.Name, r.State, r.Found)
	}
}

// A probe leaves nothing in the directory that it is told to use.
func TestDir(t *testing.T) {
	need.Overlay(t)
	dir := t.TempDir()
	facts := Host(Options{Dir: dir})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || !facts.Has("overlay") {
		t.Errorf("left %v, %v; overlay %v", left, err, facts.Has("overlay"))
	}
	facts = Host(Options{Dir: dir + "/missing"})
	if facts.Has("overlay") || facts.Has("idmapped-layers") {
		t.Error("an overlay in a directory that is not there")
	}
}

// Every feature that the tests of this tree rest upon is found on the kernels that
// they run on.
func TestThisKernel(t *testing.T) {
	need.Root(t)
	need.Overlay(t)
	facts := Host(Options{})
	for _, r := range facts.Missing() {
		t.Errorf("%s: %s", r.Name, r.Found)
	}
	for _, r := range facts {
		if r.State == Unknown {
			t.Errorf("%s: unknown to root", r.Name)
		}
	}
	for _, name := range []string{"veth", "nftables", "time-namespaces", "seccomp-notify", "proc-options", "bpf-cgroup"} {
		if !facts.Has(name) {
			t.Errorf("%s is not found", name)
		}
	}
}

// A host whose groups are changed without delay is seen to be one.
func TestFavorDynmods(t *testing.T) {
	need.VM(t)
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("cgroup2", cg.Unified.Mount, "cgroup2", unix.MS_REMOUNT, "favordynmods"); err != nil {
		t.Fatal(err)
	}
	if !Host(Options{}).Has("cgroup-favordynmods") {
		t.Error("mounted with favordynmods, and not seen")
	}
}

// An old kernel is told from a new one by what it does.
func TestOldKernel(t *testing.T) {
	need.Root(t)
	need.VM(t)
	facts := Host(Options{})
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	old := strings.HasPrefix(unix.ByteSliceToString(u.Release[:]), "6.1.")
	for _, name := range []string{"pidfd-exit-status", "detached-layers"} {
		if facts.Has(name) == old {
			t.Errorf("%s: %v on %s", name, facts.Has(name), u.Release)
		}
	}
	for _, r := range facts {
		if strings.HasPrefix(r.Name, "controller-") && r.Found != "cgroup v2" {
			t.Errorf("%s: %s, %s", r.Name, r.State, r.Found)
		}
	}
}

func TestForcedOff(t *testing.T) {
	var all []string
	for _, r := range Host(Options{}) {
		all = append(all, r.Name)
	}
	facts := Host(Options{Without: append([]string{"no-such-feature"}, all...)})
	required := 0
	for _, r := range facts {
		if r.State != No || r.Found != ForcedOff || facts.Has(r.Name) {
			t.Errorf("%s is %s though it was taken away", r.Name, r.State)
		}
		if r.Required {
			required++
		}
	}
	if got := len(facts.Missing()); got != required || required < 10 {
		t.Errorf("%d are missing of %d", got, required)
	}
	facts = Host(Options{Without: []string{"openat2"}})
	if facts.Has("openat2") || !facts.Has("close-range") {
		t.Error("one taken away, another not")
	}
}

// Facts are a value that anybody may write.
func TestFacts(t *testing.T) {
	f := Facts{{Name: "a", State: Yes, Required: true}, {Name: "b", State: No, Required: true},
		{Name: "c", State: Unknown, Required: true}, {Name: "d", State: No}}
	if !f.Has("a") || f.Has("b") || f.Has("c") || f.Has("e") {
		t.Error("Has")
	}
	if got := f.Missing(); !reflect.DeepEqual(got, []Result{f[1]}) {
		t.Errorf("missing %v", got)
	}
}

// What only root can find out is unknown to others, not missing.
func TestAsNobody(t *testing.T) {
	need.Unprivileged(t)
	for _, r := range Host(Options{}) {
		if r.Required && r.State == No && r.Name != "cgroup-v2" {
			t.Errorf("%s: %s", r.Name, r.Found)
		}
	}
}

// A sysctl that forbids user namespaces is found and named. It is set in a user
// namespace of the test's own, where it hurts nobody else.
func TestUserNamespacesForbidden(t *testing.T) {
	need.Root(t)
	need.Namespaces(t, unix.CLONE_NEWUSER)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1 << 20}}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), insideVar+"=no user namespaces")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "no: sysctl user.max_user_namespaces is 0\n"; string(out) != want {
		t.Errorf("found %q", out)
	}
}

func withoutUserNamespaces() {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	r := Host(Options{})[0]
	os.Stdout.WriteString(string(r.State) + ": " + r.Found + "\n")
	os.Exit(0)
}

func TestStates(t *testing.T) {
	for err, want := range map[error]State{
		nil: Yes, errRoot: Unknown, unix.ENOSYS: No, errors.New("x"): No,
	} {
		if got := stateOf(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

func FuzzNetlink(f *testing.F) {
	f.Add(bytes.Join([][]byte{{unix.NFPROTO_INET, 0, 0, 0}, attribute(1, []byte("filter\x00"))}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		bodies, _, _ := messages(b)
		for _, body := range bodies {
			attributes(body)
		}
	})
}

func BenchmarkHost(b *testing.B) {
	for b.Loop() {
		Host(Options{})
	}
}

// TestPossible finds what is there without having it loaded.
func TestPossible(t *testing.T) {
	before, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := possible("tmpfs")(nil); err != nil {
		t.Errorf("tmpfs: %v", err)
	}
	if _, err := possible("nosuchfs")(nil); err != errNone {
		t.Errorf("nosuchfs: %v", err)
	}
	possible("btrfs")(nil)
	possible("xfs")(nil)
	if after, err := os.ReadFile("/proc/filesystems"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a look has loaded something: %s, %v", after, err)
	}
}
