package host

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// weight gives the weight of processor time that a guest has, as v2 counts it.
func (w *world) weight(n guest.Name) int {
	w.t.Helper()
	text, old := w.controlled(n, "cpu", "cpu.weight", "cpu.shares")
	got, err := strconv.Atoi(text)
	if err != nil {
		w.t.Errorf("%s: weight %q", n, text)
	}
	if old {
		got = (got*100 + 512) / 1024
	}
	return got
}

// controlled reads a file of a guest's group, where its controller is: v2 or v1.
func (w *world) controlled(n guest.Name, controller, file, oldFile string) (text string, old bool) {
	w.t.Helper()
	cg, err := cgroup.Find()
	if err != nil {
		w.t.Fatal(err)
	}
	trees, err := cg.Legacy(controller)
	if err != nil {
		w.t.Fatal(err)
	}
	tree := cg.Unified
	if old = len(trees) > 0; old {
		tree, file = trees[0], oldFile
	}
	b, err := os.ReadFile(filepath.Join(tree.Mount, w.Dirs.Group(n), file))
	if errors.Is(err, os.ErrNotExist) {
		return "", old
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(b)), old
}

// A reservation holds whoever comes and goes, and more than everything is not promised.
func TestReservation(t *testing.T) {
	w := newWorld(t)
	expect := func(want map[guest.Name]int) {
		t.Helper()
		for n, weight := range want {
			if got := w.weight(n); got != weight {
				t.Errorf("%s has weight %d, want %d", n, got, weight)
			}
		}
	}
	w.limited("plain", guest.Limits{})
	w.limited("reserved", guest.Limits{CPUReserved: 25})
	expect(map[guest.Name]int{"plain": 100, "reserved": 100})
	w.limited("big", guest.Limits{CPUShares: 500})
	expect(map[guest.Name]int{"plain": 100, "reserved": 200, "big": 500})
	if _, err := w.Set("reserved", []string{"limits.cpu_reserved=50%"}); err != nil {
		t.Error(err)
	}
	expect(map[guest.Name]int{"plain": 100, "reserved": 600, "big": 500})
	w.guest("greedy", func(s *guest.Spec) { s.Limits.CPUReserved = 51 })
	if _, err := w.Start(t.Context(), "greedy", StartOptions{}); !errors.Is(err, guest.ErrBusy) || !strings.Contains(err.Error(), "101%") {
		t.Errorf("more than all was promised: %v", err)
	}
	w.nothing("greedy")
	if err := w.Stop(t.Context(), "big", StopOptions{Kill: true}); err != nil {
		t.Error(err)
	}
	expect(map[guest.Name]int{"plain": 100, "reserved": 100})
	for _, n := range []guest.Name{"reserved", "plain"} {
		if err := w.Stop(t.Context(), n, StopOptions{Kill: true}); err != nil {
			t.Error(err)
		}
		w.nothing(n)
	}
	if _, err := os.Stat(filepath.Join(w.Dirs.Run, "balance")); err == nil {
		t.Error("nobody asks any more, and the mark is there")
	}
}

// What a guest could not be started with is refused as long as it does not run, too; of several
// such ones each can be taken back.
func TestSetOfStopped(t *testing.T) {
	h := specs(t, map[guest.Name]string{"web1": "xid: 12\n",
		"web2": "xid: 13\nlimits:\n  io:\n    devices: {/dev/no_such: {rbps: 1M}, /dev/null: {rbps: 1M}}\n"})
	const device = "limits.io.devices./dev/no_such"
	if _, err := h.Set("web1", []string{"limits.pids=7", device + ".rbps=1M"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a disk that is not there: %v", err)
	}
	if pids, err := h.Config("web1", "limits.pids"); err != nil || pids != strconv.Itoa(guest.DefaultPids) {
		t.Errorf("pids: %s, %v", pids, err)
	}
	if _, err := h.Set("web2", []string{device + "="}); err != nil {
		t.Error(err)
	}
}

// A guest that could not be started is not built at all.
func TestBuildOfUnheld(t *testing.T) {
	need.Root(t)
	h := specs(t, nil)
	for change, spec := range map[string]guest.Spec{
		"limits.io.devices": {Limits: guest.Limits{IO: guest.IO{Devices: map[string]guest.IODevice{"/dev/no_such": {RBPS: mebi}}}}},
		"limits.rlimits":    {Limits: guest.Limits{Rlimits: map[string]guest.Rlimit{"nofile": {Soft: 1, Hard: 4e9}}}},
		"rights.syscalls":   {Rights: guest.Rights{Syscalls: []string{"fsopn"}}},
	} {
		err := h.Build(t.Context(), "web1", &spec, tiny(), BuildOptions{})
		if err == nil || !strings.Contains(err.Error(), change) {
			t.Errorf("%s: %v", change, err)
		}
		if _, err := h.Load("web1"); !errors.Is(err, guest.ErrNotFound) {
			t.Errorf("%s: is there: %v", change, err)
		}
	}
}

// A set that the kernel or the host refuses says which limit it is, and leaves all of
// them, and the spec, as they were.
func TestSetAllOrNothing(t *testing.T) {
	w := newWorld(t)
	w.limited("web1", guest.Limits{CPUs: 1.5, Pids: 100})
	before, _ := w.Config("web1", "")
	limits := func() string {
		quota, _ := w.controlled("web1", "cpu", "cpu.max", "cpu.cfs_quota_us")
		pids, _ := w.controlled("web1", "pids", "pids.max", "pids.max")
		return quota + " " + pids
	}
	held := limits()
	for refused, err := range map[string]error{
		"limits.cpuset=8000":                           nil, // EINVAL of v1, guest.ErrInvalid of v2
		"limits.hugepages.16M=16M":                     guest.ErrUnsupported,
		"limits.io.devices./dev/null={rbps: 1M}":       guest.ErrInvalid,
		"limits.io.devices./dev/no_such={riops: 1000}": os.ErrNotExist,
	} {
		_, got := w.Set("web1", []string{"limits.cpus=0.5", "limits.pids=50", refused})
		key, _, _ := strings.Cut(refused, "=")
		key = strings.Join(strings.Split(key, ".")[:2], ".")
		if got == nil || err != nil && !errors.Is(got, err) || !strings.Contains(got.Error(), key) {
			t.Errorf("%s: %v, hint %q", refused, got, fault.HintOf(got))
		}
		if now := limits(); now != held {
			t.Errorf("%s: limits are %q, were %q", refused, now, held)
		}
		if now, _ := w.Config("web1", ""); now != before {
			t.Errorf("%s: the spec is\n%s\nwas\n%s", refused, now, before)
		}
	}
	if _, err := w.Set("web1", []string{"limits.cpus=0.5", "limits.pids=50", "limits.cpuset=0"}); err != nil {
		t.Error(err)
	}
	if now := limits(); now == held {
		t.Errorf("limits are %q still", now)
	}
	if out, code := w.sh("web1", "grep Cpus_allowed_list /proc/self/status"); code != 0 || !strings.HasSuffix(strings.TrimSpace(out), "\t0") {
		t.Errorf("cpuset: %q, exit code %d", out, code)
	}
	if _, err := w.Set("web1", []string{"limits.cpuset=", "limits.cpus="}); err != nil {
		t.Error(err)
	}
	if out, _ := w.sh("web1", "nproc"); strings.TrimSpace(out) == "1" && hasTwo() {
		t.Errorf("after cpuset was lifted: nproc is %s", out)
	}
}

func hasTwo() bool {
	_, err := os.Stat("/sys/devices/system/cpu/cpu1")
	return err == nil
}

// The guest's processes begin with the niceness, the priority and the bias that were asked
// for, those that enter it too.
func TestNice(t *testing.T) {
	w := newWorld(t)
	w.limited("web1", guest.Limits{Nice: 7, IONice: 3 << 13, OOMScoreAdj: 300})
	if out, code := w.sh("web1", "cut -d' ' -f19 /proc/1/stat /proc/self/stat"); code != 0 || strings.Join(strings.Fields(out), " ") != "7 7" {
		t.Errorf("niceness %q, exit code %d", out, code)
	}
	if out, _ := w.sh("web1", "cat /proc/1/oom_score_adj /proc/self/oom_score_adj"); out != "300\n300\n" {
		t.Errorf("bias %q", out)
	}
	// Others do not get it of who started the one.
	w.limited("web2", guest.Limits{})
	if out, _ := w.sh("web2", "cat /proc/1/oom_score_adj /proc/self/oom_score_adj"); out != "0\n0\n" {
		t.Errorf("bias of the next %q", out)
	}
}
