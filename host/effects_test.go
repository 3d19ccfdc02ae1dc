package host

import (
	"fmt"
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

// What limits do, seen at work: each is set on a guest that runs, on a machine with all
// controllers of cgroup v2 that nobody else needs.

// effects is a world there, with a guest.
func effects(t *testing.T, l guest.Limits) *world {
	t.Helper()
	w := newWorld(t)
	need.VM(t)
	need.Controllers(t, "memory", "io", "cpuset", "pids")
	w.limited("web1", l)
	return w
}

// group opens the group of a guest, or of all for "".
func (w *world) group(n guest.Name) *cgroup.Group {
	w.t.Helper()
	cg, err := cgroup.Find()
	if err != nil {
		w.t.Fatal(err)
	}
	path := w.Dirs.Cgroup
	if n != "" {
		path = w.Dirs.Group(n)
	}
	g, err := cg.Open(path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { g.Close() })
	return g
}

// memory is what the kernel counts for a guest, in MiB.
func (w *world) memory(n guest.Name) int {
	w.t.Helper()
	text, err := w.group(n).Read("memory.current")
	if err != nil {
		w.t.Fatal(err)
	}
	bytes, _ := strconv.Atoi(text)
	return bytes / mebi
}

// must runs a script in a guest that has to work.
func (w *world) must(n guest.Name, script string) {
	w.t.Helper()
	if out, code := w.sh(n, script); code != 0 {
		w.t.Fatalf("%s: exit code %d, %s", script, code, out)
	}
}

// A soft limit keeps the cache small, and kills nobody.
func TestMemorySoftWorks(t *testing.T) {
	w := effects(t, guest.Limits{Memory: 512 * mebi}) // counted from the start
	w.must("web1", "dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; sync; cat /big >/dev/null")
	if got := w.memory("web1"); got < 48 {
		t.Errorf("without a limit: %d MiB", got)
	}
	w.set("web1", "limits.memory_soft=16M")
	w.must("web1", "cat /big | wc -c")
	if got := w.memory("web1"); got > 28 {
		t.Errorf("with a soft limit of 16 MiB: %d MiB", got)
	}
	w.hit("web1", "memory_soft")
	w.set("web1", "limits.memory_soft=")
	w.must("web1", "cat /big >/dev/null")
	if got := w.memory("web1"); got < 48 {
		t.Errorf("the limit lifted: %d MiB", got)
	}
}

// Swap is what the limit says, and no more.
func TestSwapWorks(t *testing.T) {
	w := effects(t, guest.Limits{Memory: 32 * mebi})
	swap(t)
	w.must("web1", "mount -t tmpfs -o size=64m all /mnt")
	const eat = "rm -f /mnt/x; dd if=/dev/zero of=/mnt/x bs=1M count=56 2>/dev/null"
	if _, code := w.sh("web1", eat); code != 128+int(syscall.SIGKILL) {
		t.Errorf("56 MiB in 32 without swap: exit code %d", code)
	}
	w.set("web1", "limits.swap=64M")
	w.must("web1", eat)
	text, err := w.group("web1").Read("memory.swap.current")
	if n, _ := strconv.Atoi(text); err != nil || n < 16*mebi {
		t.Errorf("in swap: %s %v", text, err)
	}
	w.must("web1", "rm /mnt/x")
	w.set("web1", "limits.swap=")
	if _, code := w.sh("web1", eat); code != 128+int(syscall.SIGKILL) {
		t.Errorf("swap taken away: exit code %d", code)
	}
}

// swap gives the machine 128 MiB of it.
func swap(t *testing.T) {
	file := filepath.Join(need.TempDir(t), "swap")
	if err := exec.Command("/bin/busybox", "dd", "if=/dev/zero", "of="+file, "bs=1M", "count=128").Run(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("/bin/busybox", "mkswap", file).CombinedOutput(); err != nil {
		t.Fatalf("mkswap: %v %s", err, out)
	}
	if out, err := exec.Command("/bin/busybox", "swapon", file).CombinedOutput(); err != nil {
		t.Fatalf("swapon: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("/bin/busybox", "swapoff", file).CombinedOutput(); err != nil {
			t.Errorf("swapoff: %v %s", err, out)
		}
	})
}

// What is reserved for a guest stays its own, whatever a neighbour reads.
func TestMemoryReservedWorks(t *testing.T) {
	w := effects(t, guest.Limits{Memory: 512 * mebi})
	w.limited("web2", guest.Limits{Memory: 512 * mebi})
	w.must("web2", "dd if=/dev/zero of=/big bs=1M count=48 2>/dev/null; sync")
	w.must("web1", "dd if=/dev/zero of=/mine bs=1M count=28 2>/dev/null; sync")
	all := w.group("")
	defer all.Write("memory.max", "max")
	for _, c := range []struct {
		set  string
		kept bool
	}{{"limits.memory_reserved=32M", true}, {"limits.memory_reserved=", false}, {"limits.memory_low=32M", true}, {"limits.memory_low=", false}} {
		if err := all.Write("memory.max", "max"); err != nil {
			t.Fatal(err)
		}
		w.set("web1", c.set)
		w.must("web1", "cat /mine >/dev/null; cat /mine >/dev/null")
		if err := all.Write("memory.max", strconv.Itoa(40*mebi)); err != nil {
			t.Fatal(err)
		}
		w.must("web2", "for i in 1 2 3 4; do cat /big >/dev/null; done")
		if got := w.memory("web1"); (got >= 26) != c.kept {
			t.Errorf("%s: %d MiB left", c.set, got)
		}
	}
}

// bytes per second and requests per second of a disk: a bound makes them wait, so that
// four times as much as a second allows takes two at least, on however fast a machine.
func TestDiskBoundsWork(t *testing.T) {
	w := effects(t, guest.Limits{})
	w.diskBounds(bounded{"wbps: 2M", "dd if=/dev/zero of=/new bs=1M count=8 2>/dev/null; sync"}) // by the kernel, later
	if text, err := w.group("web1").Read("io.max"); err != nil || text != "" {
		t.Errorf("bounds left: %q %v", text, err)
	}
}

// The older kind of group holds them for reads, and for writes that are waited for.
func TestDiskBoundsWorkV1(t *testing.T) {
	need.ControllersV1(t, "blkio")
	w := worldAt(t, need.Disk(t, "ext4", 128*mebi, ""))
	w.limited("web1", guest.Limits{})
	w.diskBounds()
}

// bounded is a bound of a disk, and what takes two seconds and more with it.
type bounded struct{ bound, script string }

// diskBounds bounds web1 in each way, and then not any more.
func (w *world) diskBounds(more ...bounded) {
	w.t.Helper()
	disk := deviceOf(w.t, w.root)
	w.must("web1", "dd if=/dev/zero of=/big bs=1M count=8 2>/dev/null; sync")
	const read, write = "dd if=/big of=/dev/null bs=256k iflag=direct 2>/dev/null", "dd if=/dev/zero of=/new bs=1M count=8 conv=fsync 2>/dev/null"
	// 40 requests that are not merged: each waits for the one before.
	const small = "i=0; while [ $i -lt 40 ]; do dd if=/dev/zero of=/s bs=4k count=1 seek=$i conv=notrunc,fsync 2>/dev/null; i=$((i+1)); done"
	for _, c := range append(more, bounded{"rbps: 2M", read}, bounded{"wbps: 2M", write}, bounded{"riops: 10", read}, bounded{"wiops: 10", small}) {
		w.set("web1", fmt.Sprintf("limits.io.devices={%s: {%s}}", disk, c.bound))
		begin := time.Now()
		w.must("web1", c.script)
		if took := time.Since(begin); took < 2*time.Second {
			w.t.Errorf("%s: took %v", c.bound, took)
		}
	}
	w.set("web1", "limits.io.devices=")
}

// deviceOf gives the block device that a directory is on.
func deviceOf(t *testing.T, dir string) string {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	major, minor := st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&0xfff00
	link, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", major, minor))
	if err != nil {
		t.Fatal(err)
	}
	return "/dev/" + filepath.Base(link)
}

// Processors and processes, as the guest's own processes find them.
func TestPlacesWork(t *testing.T) {
	w := effects(t, guest.Limits{})
	allowed := func() string {
		out, _ := w.sh("web1", "grep Cpus_allowed_list /proc/1/status; nproc")
		return strings.Join(strings.Fields(out), " ")
	}
	w.set("web1", "limits.cpuset=1")
	if got := allowed(); got != "Cpus_allowed_list: 1 1" {
		t.Errorf("bound to processor 1: %s", got)
	}
	w.set("web1", "limits.cpuset=")
	if got := allowed(); got != "Cpus_allowed_list: 0-1 2" {
		t.Errorf("bound to none: %s", got)
	}
	w.set("web1", "limits.pids=30")
	w.forks("web1", 100, "")
	if got := w.members("web1"); got > 30 || got < 20 {
		t.Errorf("%d processes with 30 allowed", got)
	}
	w.hit("web1", "pids")
}

// hit fails the test unless the guest is said to have run against a limit.
func (w *world) hit(n guest.Name, pool string) {
	w.t.Helper()
	st, err := w.Status(n)
	i := slices.IndexFunc(st.Limits, func(p guest.Pool) bool { return p.Name == pool })
	if err != nil || i < 0 || st.Limits[i].Hits == nil || *st.Limits[i].Hits == 0 {
		w.t.Errorf("hits of %s: %+v %v", pool, st.Limits, err)
	}
}

// Huge pages are had up to the limit, touched or only promised, and none by who has no limit.
func TestHugePagesWork(t *testing.T) {
	w := newWorld(t)
	need.VM(t)
	need.Controllers(t, "hugetlb")
	w.instances()
	w.limited("web1", guest.Limits{})
	const pool = "/proc/sys/vm/nr_hugepages"
	if err := os.WriteFile(pool, []byte("8"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(pool, []byte("0"), 0)
	w.limited("web2", guest.Limits{})
	w.tries("web2", "-"+instances+" huge 1", "-"+instances+" promised 1")
	w.hit("web2", "hugepages.2M")
	w.set("web1", "limits.hugepages={2M: 4M}")
	w.tries("web1", "+"+instances+" huge 2", "-"+instances+" huge 3", "+"+instances+" promised 2", "-"+instances+" promised 3")
	w.hit("web1", "hugepages.2M")
	w.set("web1", "limits.hugepages={2M: 8M}")
	w.tries("web1", "+"+instances+" huge 4", "-"+instances+" huge 5")
	w.set("web1", "limits.hugepages={}")
	w.tries("web1", "-"+instances+" huge 1")
}

// Memory is taken back of a guest that does nothing, by vserverd, and status tells.
func TestMemoryIdleWorks(t *testing.T) {
	w := effects(t, guest.Limits{Memory: 512 * mebi})
	w.must("web1", "dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; sync")
	w.set("web1", "limits.memory_idle=10s")
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Second) {
		st, err := w.Status("web1")
		if err != nil {
			t.Fatal(err)
		}
		if st.Reclaimed > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing was taken back")
		}
	}
	out, err := w.program("", "web1", "status")
	if err != nil || !strings.Contains(string(out), "Taken back:") {
		t.Errorf("status: %s %v", out, err)
	}
	w.stop("web1")
	if st, err := w.Status("web1"); err != nil || st.Reclaimed > 0 {
		t.Errorf("after the end: %v %v", st.Reclaimed, err)
	}
}
