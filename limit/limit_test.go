package limit

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

func TestMain(m *testing.M) { need.Main(m) }

// ground is a host, a guest's group in it, and a way to run things there.
type ground struct {
	testing.TB
	host cgroup.Host
	path string
	g    *cgroup.Group
	// ended is closed when what start began has ended and was waited for.
	ended chan struct{}
}

func newGround(t testing.TB) *ground {
	t.Helper()
	need.Root(t)
	need.Cgroup2(t)
	h, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	top := need.Dirs(t).Cgroup
	before := subtreeControl(t, h)
	t.Cleanup(func() {
		if err := h.Remove(top); err != nil {
			t.Error(err)
		}
		for _, c := range subtreeControl(t, h) {
			if !slices.Contains(before, c) { // as the host had it
				os.WriteFile(filepath.Join(h.Unified.Mount, "cgroup.subtree_control"), []byte("-"+c), 0)
			}
		}
	})
	g, err := h.Create(top + "/web1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return &ground{t, h, top + "/web1", g, make(chan struct{})}
}

func subtreeControl(t testing.TB, h cgroup.Host) []string {
	text, err := os.ReadFile(filepath.Join(h.Unified.Mount, "cgroup.subtree_control"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// start runs a shell script that waits, in the guest's group, for a line before it
// goes on, as a guest's gated child does.
func (g *ground) start(script string) (cmd *exec.Cmd, open func()) {
	g.Helper()
	cmd = exec.Command("sh", "-c", "read go; "+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.g.FD()}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() {
		in.Close()
		g.g.Kill()
		g.g.WaitEmpty(g.Context())
		<-g.ended
		if err := Remove(g.host, g.path); err != nil {
			g.Error(err)
		}
	})
	go func() { cmd.Wait(); close(g.ended) }()
	return cmd, func() { in.Write([]byte("go\n")) }
}

// read gives a file of the guest's v1 group.
func (g *ground) read(controller, file string) string {
	g.Helper()
	text, err := os.ReadFile(filepath.Join(g.legacy(controller), file))
	if err != nil {
		g.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func (g *ground) legacy(controller string) string {
	g.Helper()
	trees, err := g.host.Legacy(controller)
	if err != nil || len(trees) != 1 {
		g.Fatalf("%s: %v, %v", controller, trees, err)
	}
	return filepath.Join(trees[0].Mount, g.path)
}

func (g *ground) apply(l guest.Limits, pid int) {
	g.Helper()
	p, joins, err := Prepare(g.host, g.path, l)
	if err != nil {
		g.Fatal(err)
	}
	defer CloseJoins(joins)
	if err := p.Apply(); err != nil {
		g.Fatal(err)
	}
	for _, fd := range joins {
		if pid == 0 {
			break
		}
		if _, err := syscall.Write(fd, []byte(strconv.Itoa(pid))); err != nil {
			g.Fatal(err)
		}
	}
}

func (g *ground) change(l guest.Limits) {
	g.Helper()
	if err := Change(g.host, g.path, l); err != nil {
		g.Fatal(err)
	}
}

func TestGroupsBounded(t *testing.T) {
	g := newGround(t)
	g.apply(guest.Limits{}, 0)
	for file, want := range map[string]int{"cgroup.max.descendants": 2048, "cgroup.max.depth": 32} {
		if got, err := g.g.Read(file); err != nil || got != strconv.Itoa(want) {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	deep := g.g.Path()
	for range 32 {
		deep += "/a"
		if err := os.Mkdir(deep, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(deep+"/a", 0o755); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("one level too many: %v", err)
	}
	g.change(guest.Limits{Ceilings: map[string]int{"cgroups": 33}})
	if err := errors.Join(os.Mkdir(g.g.Path()+"/b", 0o755), os.Remove(g.g.Path()+"/b")); err != nil {
		t.Error(err)
	}
	g.change(guest.Limits{Ceilings: map[string]int{"cgroups": 32}})
	if err := os.Mkdir(g.g.Path()+"/b", 0o755); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("one group too many: %v", err)
	}
	if err := Remove(g.host, g.path); err != nil {
		t.Error(err)
	}
}

// A guest with no limit has no v1 group, and one with limits is in just those.
func TestLegacyOnlyWhenAsked(t *testing.T) {
	need.ControllersV1(t, "memory", "cpu", "pids")
	g := newGround(t)
	cmd, _ := g.start("sleep 100")
	n, l := Nproc(g.host, guest.Limits{Pids: guest.DefaultPids})
	if n != guest.DefaultPids || l.Pids != 0 {
		t.Errorf("Nproc = %d, %+v", n, l)
	}
	g.apply(l, cmd.Process.Pid)
	for _, c := range []string{"memory", "cpu", "pids"} {
		if _, err := os.Stat(g.legacy(c)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no limit asked, group for %s: %v", c, err)
		}
	}
	for range 2 { // applying is idempotent
		g.apply(guest.Limits{Memory: 64 << 20, Pids: 10}, cmd.Process.Pid)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	if got := g.read("memory", "cgroup.procs"); got != pid {
		t.Errorf("in memory's group: %q", got)
	}
	if got := g.read("memory", "memory.limit_in_bytes"); got != "67108864" {
		t.Errorf("memory: %s", got)
	}
	if got := g.read("memory", memsw); got != "67108864" {
		t.Errorf("memory and swap: %s", got)
	}
	if got := g.read("pids", "pids.max"); got != "10" {
		t.Errorf("pids: %s", got)
	}
	if _, err := os.Stat(g.legacy("cpu")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no limit asked, group for cpu: %v", err)
	}
	g.g.Kill()
	g.g.WaitEmpty(t.Context())
	for range 2 {
		if err := Remove(g.host, g.path); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []string{"memory", "cpu", "pids"} {
		if _, err := os.Stat(filepath.Dir(g.legacy(c))); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left behind for %s: %v", c, err)
		}
	}
}

// A limit put on a running guest takes in every process it has, be they many or
// forking, and is lifted again.
func TestChangeRunning(t *testing.T) {
	g := newGround(t)
	_, open := g.start("i=0; while :; do sleep 0.05 & i=$((i+1)); [ $((i % 50)) = 0 ] && wait; done")
	g.apply(guest.Limits{}, 0)
	open()
	time.Sleep(50 * time.Millisecond)
	g.change(guest.Limits{CPUs: 0.5, Pids: 200})
	if on, err := g.g.Frozen(); on || err != nil {
		t.Errorf("frozen afterwards: %v, %v", on, err)
	}
	_, v1, err := pidsFile(g)
	if err != nil {
		t.Fatal(err)
	}
	if v1 {
		for _, c := range []string{"cpu", "pids"} {
			g.sameProcesses(c)
		}
	}
	if got := g.pidsMax(); got != "200" {
		t.Errorf("pids.max = %s", got)
	}
	g.change(guest.Limits{Pids: 300})
	if got := g.pidsMax(); got != "300" {
		t.Errorf("pids.max = %s", got)
	}
	g.change(guest.Limits{})
	if got := g.pidsMax(); got != "max" {
		t.Errorf("pids.max = %s after all limits were lifted", got)
	}
}

// Processors and nodes that the host has not are refused with those that it has, on every
// kind of control group.
func TestBeyond(t *testing.T) {
	g := newGround(t)
	_, open := g.start("sleep 60")
	g.apply(guest.Limits{}, 0)
	open()
	for _, l := range []guest.Limits{{CPUSet: "1023"}, {CPUSet: "0,4095"}, {Mems: "1023"}, {Mems: "63"}} {
		if err := Change(g.host, g.path, l); !errors.Is(err, guest.ErrInvalid) || !strings.Contains(err.Error(), "the host has 0") {
			t.Errorf("%s%s: %v", l.CPUSet, l.Mems, err)
		}
	}
}

// Memory and swap are changed together, in both directions, and lifted.
func TestSwap(t *testing.T) {
	g := newGround(t)
	trees, err := g.host.Legacy("memory")
	if err != nil {
		t.Fatal(err)
	}
	if len(trees) == 0 {
		need.Controllers(t, "memory")
	}
	g.apply(guest.Limits{}, 0)
	t.Cleanup(func() {
		if err := Remove(g.host, g.path); err != nil {
			t.Error(err)
		}
	})
	const mib = 1 << 20
	for _, l := range []guest.Limits{{Memory: 64 * mib}, {Memory: 256 * mib, Swap: 64 * mib}, {Memory: 128 * mib}, {Memory: 32 * mib, Swap: mib}, {}} {
		g.change(l)
		file, want := filepath.Join(g.g.Path(), "memory.swap.max"), strconv.Itoa(int(l.Swap))
		if len(trees) > 0 {
			file, want = filepath.Join(g.legacy("memory"), memsw), strconv.Itoa(int(l.Memory+l.Swap))
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(text)); got != want && (l.Memory > 0 || got != "max" && got != "9223372036854771712") {
			t.Errorf("%+v: %s", l, got)
		}
	}
}

// sameProcesses holds the v1 group against the guest's own while nobody moves.
func (g *ground) sameProcesses(controller string) {
	g.Helper()
	if err := g.g.Freeze(true); err != nil {
		g.Fatal(err)
	}
	defer g.g.Freeze(false)
	want, err := g.g.Procs()
	if err != nil {
		g.Fatal(err)
	}
	var got []int
	for line := range strings.FieldsSeq(g.read(controller, "cgroup.procs")) {
		n, _ := strconv.Atoi(line)
		got = append(got, n)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) < 2 {
		g.Errorf("%s has %d processes, the guest %d", controller, len(got), len(want))
	}
}

// A controller that is nowhere is said, with the limit's name.
func TestMissingController(t *testing.T) {
	g := newGround(t)
	s := setting{name: "memory", controller: "no_such", v2: value{file: "no_such.max"}, v1: value{file: "no_such.max"}}
	c := &change{cg: g.host, path: g.path, g: g.g}
	defer c.close()
	rest, err := c.unified([]setting{s})
	if err != nil || len(rest) != 1 {
		t.Fatalf("unified: %v, %v", rest, err)
	}
	_, err = c.legacy(rest, nil)
	if !errors.Is(err, guest.ErrUnsupported) || !strings.Contains(err.Error(), "limits.memory") {
		t.Errorf("error %v", err)
	}
}

// BenchmarkDefault is what the default limits cost a start.
func BenchmarkDefault(b *testing.B) {
	g := newGround(b)
	for b.Loop() {
		_, l := Nproc(g.host, guest.Limits{Pids: guest.DefaultPids})
		g.apply(l, 0)
	}
}

func BenchmarkRemove(b *testing.B) {
	g := newGround(b)
	for b.Loop() {
		if err := Remove(g.host, g.path); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLegacyIdle is what limits on v1 controllers cost a start after a while in
// which nobody joined a group: the wait that Nproc is there to spare.
func BenchmarkLegacyIdle(b *testing.B) {
	need.ControllersV1(b, "memory", "pids")
	g := newGround(b)
	for b.Loop() {
		b.StopTimer()
		cmd, _ := g.start("sleep 100")
		time.Sleep(50 * time.Millisecond)
		b.StartTimer()
		g.apply(guest.Limits{Memory: 64 << 20, Pids: 100}, cmd.Process.Pid)
	}
}

// BenchmarkChange is what vserver set takes to bring a limit to a guest that runs.
func BenchmarkChange(b *testing.B) {
	g := newGround(b)
	cmd, _ := g.start("sleep 100")
	g.apply(guest.Limits{CPUs: 1, Pids: 100}, cmd.Process.Pid)
	i := 0
	for b.Loop() {
		i++
		g.change(guest.Limits{CPUs: 0.5 + float64(i%2), Pids: 100 + i%2})
	}
}
