package host

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
)

// Guests that fight for one thing, each for as much as it can get. What each got is
// counted by the kernel: a slow machine makes all of it less, and the parts stay.

// fight lets both guests go on for some seconds and gives how many times as much as the
// second the first got of what count reads.
func (w *world) fight(count func(guest.Name) int) float64 {
	w.t.Helper()
	time.Sleep(time.Second) // what was begun under the setting before is over
	a, b := count("web1"), count("web2")
	time.Sleep(6 * time.Second)
	a, b = count("web1")-a, count("web2")-b
	w.t.Logf("%d : %d", a, b)
	return float64(a) / float64(max(b, 1))
}

// between has the guests fight until the ratio is in these bounds. An emulated processor stands
// still for seconds now and then, and with it a guest: three looks are had at most.
func (w *world) between(what string, count func(guest.Name) int, least, most float64) {
	w.t.Helper()
	var amiss []float64
	for len(amiss) < 3 {
		got := w.fight(count)
		if least <= got && got <= most {
			return
		}
		amiss = append(amiss, got)
	}
	w.t.Errorf("%s: %.2f times as much", what, amiss)
}

// counted reads a number behind a word in a file of a guest's group.
func (w *world) counted(n guest.Name, file, word string) int {
	w.t.Helper()
	text, err := w.group(n).Read(file)
	if err != nil {
		w.t.Fatal(err)
	}
	_, after, _ := strings.Cut(text, word)
	digits, _, _ := strings.Cut(strings.Fields(after + " 0")[0], " ")
	got, err := strconv.Atoi(digits)
	if err != nil {
		w.t.Fatalf("%s: %q", file, text)
	}
	return got
}

// A disk that weighs is divided by limits.io.weight, by bfq or by iocost; no other takes
// a weight.
func TestDiskWeightWorks(t *testing.T) {
	w := effects(t, guest.Limits{})
	w.instances()
	w.limited("web2", guest.Limits{})
	if _, err := w.Set("web1", []string{"limits.io.weight=500"}); !errors.Is(err, guest.ErrUnsupported) ||
		!strings.Contains(err.Error(), "limits.io.weight: no disk of this host weighs") || !strings.Contains(fault.HintOf(err), "bfq") {
		t.Errorf("a disk that does not weigh: %v, hint %q", err, fault.HintOf(err))
	}
	disk := deviceOf(t, w.root)
	number := numberOf(t, disk)
	reads := func(n guest.Name) int { return w.counted(n, "io.stat", number+" rbytes=") }
	for _, n := range []guest.Name{"web1", "web2"} {
		w.must(n, "dd if=/dev/zero of=/big bs=1M count=16 2>/dev/null; sync")
		w.must(n, instances+" reads /big >/dev/null 2>&1 &")
	}
	divided := func(by, file string) {
		t.Helper()
		for _, c := range []struct {
			first, second string
			least, most   float64
		}{{"1000", "10", 3, math.Inf(1)}, {"10", "1000", 0, 1. / 3}} {
			w.set("web1", "limits.io.weight="+c.first)
			w.set("web2", "limits.io.weight="+c.second)
			w.between(fmt.Sprintf("%s, weights %s and %s", by, c.first, c.second), reads, c.least, c.most)
		}
		for _, n := range []guest.Name{"web1", "web2"} {
			w.set(n, "limits.io.weight=")
			if got := w.counted(n, file, "default "); got != 100 {
				t.Errorf("%s: a weight taken back is %d", by, got)
			}
		}
	}

	// A disk of a hundred requests a second, by the kernel's own model of it.
	top := w.group("")
	root, err := top.Top()
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for file, line := range map[string]string{
		"io.cost.model": " ctrl=user model=linear rbps=400000 rseqiops=100 rrandiops=100 wbps=400000 wseqiops=100 wrandiops=100",
		"io.cost.qos":   " enable=1 ctrl=user rpct=0 wpct=0 min=100 max=100",
	} {
		if err := root.Write(file, number+line); err != nil {
			t.Fatal(err)
		}
	}
	divided("iocost", "io.weight")
	w.between("iocost, one weight", reads, 1/1.7, 1.7)
	if err := root.Write("io.cost.qos", number+" enable=0"); err != nil {
		t.Fatal(err)
	}

	queue := filepath.Join("/sys/block", filepath.Base(disk), "queue")
	defer os.WriteFile(queue+"/scheduler", []byte("none"), 0)
	for _, c := range [][2]string{
		{"scheduler", "bfq"},
		{"iosched/low_latency", "0"},       // no favours to who came last
		{"iosched/strict_guarantees", "1"}, // the disk, which has a queue of its own, gets one request at a time
		{"iosched/slice_idle", "100"},      // ms that a turn waits for its reader: emulated processors are slow
	} {
		if err := os.WriteFile(filepath.Join(queue, c[0]), []byte(c[1]), 0); err != nil {
			t.Fatal(err)
		}
	}
	// Not with one weight: what bfq gives to two readers of an emulated processor differs by
	// how soon each of them asks again.
	divided("bfq", "io.bfq.weight")
}

// numberOf gives the number of a device, as MAJOR:MINOR.
func numberOf(t *testing.T, device string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(device), "dev"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// A guest that is idle in the scheduler's sense has a processor when nobody else wants it.
func TestCPUIdleWorks(t *testing.T) {
	w := effects(t, guest.Limits{CPUSet: "0"})
	w.limited("web2", guest.Limits{CPUSet: "0"})
	for _, n := range []guest.Name{"web1", "web2"} {
		w.must(n, "(while :; do :; done) >/dev/null 2>&1 &")
	}
	time := func(n guest.Name) int { return w.counted(n, "cpu.stat", "usage_usec ") }
	for _, c := range []struct {
		set         string
		least, most float64
	}{{"limits.cpu_idle=true", 0, 0.1}, {"limits.cpu_idle=", 0.7, 1.4}} {
		w.set("web1", c.set)
		w.between(c.set, time, c.least, c.most)
	}
	w.set("web1", "limits.cpu_idle=true")
	w.stop("web2")
	before := time("web1")
	for end := deadline(); time("web1") < before+500_000; { // microseconds
		if end() {
			t.Fatal("nobody else is there, and it does not run")
		}
	}
}

// deadline tells when half a minute is over, and waits a little each time it is asked.
func deadline() func() bool {
	end := time.Now().Add(30 * time.Second)
	return func() bool {
		time.Sleep(50 * time.Millisecond)
		return time.Now().After(end)
	}
}

// With oom_group all of a guest ends when one of its processes finds no memory; without,
// that one.
func TestOOMGroupWorks(t *testing.T) {
	w := effects(t, guest.Limits{Memory: 32 * mebi})
	const eat = "sleep 1000 >/dev/null 2>&1 & dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null"
	if _, code := w.sh("web1", eat); code != 128+int(syscall.SIGKILL) {
		t.Errorf("64 MiB in 32: exit code %d", code)
	}
	if st, err := w.Status("web1"); err != nil || st.State != guest.Running || st.OOMKills != 1 || w.members("web1") < 2 {
		t.Errorf("one process alone: %v, %d killed, %d left, %v", st.State, st.OOMKills, w.members("web1"), err)
	}
	w.set("web1", "limits.oom_group=true")
	w.sh("web1", eat)
	for end := deadline(); ; {
		if st, err := w.Status("web1"); err != nil || st.State == guest.Stopped {
			break
		}
		if end() {
			t.Fatalf("some of it lives: %d processes", w.members("web1"))
		}
	}
	w.start("web1")
	w.set("web1", "limits.oom_group=")
	if _, code := w.sh("web1", eat); code != 128+int(syscall.SIGKILL) || w.members("web1") < 2 {
		t.Errorf("taken back: exit code %d", code)
	}
}

// What Debian's 6.1 lacks is refused by name, with what does nearly as well.
func TestLackingLimits(t *testing.T) {
	w := effects(t, guest.Limits{Memory: 64 * mebi})
	need.Controllers(t, "hugetlb")
	for set, hint := range map[string]string{
		"limits.zswap=16M":         "limits.swap",
		"limits.io.latency=10ms":   "limits.io.devices of the other guests",
		"limits.hugepages.16M=16M": "",
	} {
		key, _, _ := strings.Cut(set, "=")
		_, err := w.Set("web1", []string{set})
		if !errors.Is(err, guest.ErrUnsupported) || !strings.Contains(err.Error(), key) || !strings.Contains(fault.HintOf(err), hint) {
			t.Errorf("%s: %v, hint %q", set, err, fault.HintOf(err))
		}
	}
}
