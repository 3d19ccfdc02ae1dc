package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
)

func TestWantsRestart(t *testing.T) {
	ends := []guest.Exit{{Reason: guest.Exited}, {Reason: guest.Exited, Code: 1}, {Reason: guest.Signalled, Signal: "SIGKILL"},
		{Reason: guest.Unknown}, {Reason: guest.Rebooted}, {Reason: guest.Halted}, {Reason: guest.StoppedBy}}
	for policy, want := range map[guest.Restart]string{
		guest.RestartNever:     "....r..",
		guest.RestartOnFailure: ".rrrr..",
		guest.RestartAlways:    "rrrrr..",
	} {
		var got strings.Builder
		for _, e := range ends {
			got.WriteByte(map[bool]byte{true: 'r', false: '.'}[wantsRestart(policy, e)])
		}
		if got.String() != want {
			t.Errorf("%s: %s, want %s", policy, got.String(), want)
		}
	}
}

func TestWaitFor(t *testing.T) {
	for fails, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if got := waitFor(fails, false); got != want {
			t.Errorf("after %d: %v, want %v", fails, got, want)
		}
		if got := waitFor(fails+1, true); got != want {
			t.Errorf("reboot after %d: %v, want %v", fails+1, got, want)
		}
	}
	for _, fails := range []int{9, 20, 64, 1 << 30} {
		if got := waitFor(fails, false); got != 5*time.Minute {
			t.Errorf("after %d: %v", fails, got)
		}
	}
	if got := waitFor(0, true); got != 0 {
		t.Errorf("the first reboot waits %v", got)
	}
}

func TestExitOf(t *testing.T) {
	for _, c := range []struct {
		status syscall.WaitStatus
		err    error
		want   guest.Exit
		words  string
	}{
		{0, nil, guest.Exit{Reason: guest.Exited}, "exited with code 0"},
		{3 << 8, nil, guest.Exit{Reason: guest.Exited, Code: 3}, "exited with code 3"},
		{1, nil, guest.Exit{Reason: guest.Rebooted}, "reboots"},
		{2, nil, guest.Exit{Reason: guest.Halted}, "has halted"},
		{9, nil, guest.Exit{Reason: guest.Signalled, Signal: "SIGKILL"}, "was ended by SIGKILL"},
		{11 | 0x80, nil, guest.Exit{Reason: guest.Signalled, Signal: "SIGSEGV"}, "was ended by SIGSEGV"},
		{0, errors.New("?"), guest.Exit{Reason: guest.Unknown}, "ended, nobody saw how"},
	} {
		got := exitOf(c.status, c.err)
		if got != c.want || describe(got) != c.words {
			t.Errorf("%#x, %v: %+v %q, want %+v %q", c.status, c.err, got, describe(got), c.want, c.words)
		}
	}
	if s := describe(guest.Exit{Reason: guest.Signalled, Signal: "SIGKILL", OOM: true}); s != "was ended by SIGKILL (out of memory)" {
		t.Error(s)
	}
}

// begins makes the acts of the world start n with a script, its console of a kind.
func (w *world) begins(n guest.Name, kind guest.ConsoleType, policy guest.Restart, script string) {
	w.write(string(n)+".start", fmt.Sprintf("%s\n%s\n%s", kind, policy, script))
}

// attached waits until vserverd has the program that sees reboots attached, and its
// guests watched by it: the keeper gets it in the same turn of the loop.
func (w *world) attached() {
	w.t.Helper()
	w.until(func() bool {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", w.role("--keeper")))
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.Contains(to, "bpf_link") || strings.Contains(to, "bpf-link") {
				return true
			}
		}
		return false
	})
	if _, err := proto.List(w.dirs); err != nil { // another turn
		w.t.Fatal(err)
	}
}

// Who starts a guest hears of it when its end can be told from others: the guest may end at
// once, and vserverd have begun for it.
func TestHaltAtOnce(t *testing.T) {
	w := coldWorld(t)
	w.write("notes.late", "")
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleNone}, "busybox halt -f; sleep 1000")
	w.await("one has halted\n", w.ended)
}

// A reboot from inside starts the guest again, whatever its policy, and those who
// are attached see it come up.
func TestReboot(t *testing.T) {
	w := newWorld(t)
	const script = "echo up; read x; busybox $x -f; sleep 1000"
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleTTY}, script)
	w.begins("one", guest.ConsoleTTY, guest.RestartNever, script)
	w.attached()
	c := w.attach("one", 0)
	for i := range 2 {
		w.until(func() bool { return strings.Count(w.log("one"), "up\n") == i+1 })
		fmt.Fprintln(c, "reboot")
		w.await(strings.Repeat("one reboots\n", i+1), w.ended)
		w.until(func() bool { return strings.Count(c.text(), "one reboots; it is started again]") == i+1 })
	}
	w.until(func() bool { return strings.Count(c.text(), "up\r\n") == 2 })
	fmt.Fprintln(c, "halt")
	w.await("one reboots\none reboots\none has halted\n", w.ended)
	<-c.end
	if all, err := proto.List(w.dirs); len(all) != 0 || err != nil {
		t.Errorf("after the halt: %v, %v", all, err)
	}
}

// A plan outlives the worker.
func TestRestartAfterKill(t *testing.T) {
	w := newWorld(t)
	w.begins("one", guest.ConsoleLog, guest.RestartNever, "echo again; sleep 1000")
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleLog, Restart: guest.RestartOnFailure}, "exit 1")
	w.await("one exited with code 1\n", w.ended)
	w.kill("--worker")
	w.await("again\n", func() string { return w.log("one") })
}

// A start that does not work is tried again; a stop on purpose is heeded.
func TestRestartFails(t *testing.T) {
	w := newWorld(t)
	w.begins("one", "fails", "", "")
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleLog, Restart: guest.RestartAlways}, "exit 0")
	w.await("one exited with code 0\n", w.ended)
	for _, wait := range []string{"1s", "2s"} { // the latter when the first try has failed
		w.until(func() bool { return strings.Contains(w.diary(), "one: starts again in "+wait+"\n") })
	}
	w.begins("one", guest.ConsoleLog, guest.RestartAlways, "echo at last; sleep 1000")
	w.await("at last\n", func() string { return w.log("one") })
	w.write("two.stopping", "")
	w.begins("two", guest.ConsoleLog, guest.RestartAlways, "echo again; sleep 1000")
	w.guest(proto.Start{Name: "two", Console: guest.ConsoleLog, Restart: guest.RestartAlways}, "exit 0")
	w.until(func() bool { return strings.Contains(w.ended(), "two exited") })
	time.Sleep(1500 * time.Millisecond)
	if w.log("two") != "" {
		t.Error("started again after a stop")
	}
}

// A hundred guests with consoles, in two processes of 20 MiB together.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		n := guest.Name(fmt.Sprintf("g%d", i))
		w.guest(proto.Start{Name: n, Console: kinds[i%2]}, "echo hello; exec sleep 1000")
		w.await("hello\n", func() string { return w.log(n) })
	}
	w.attached()
	time.Sleep(500 * time.Millisecond)
	total := 0
	for _, role := range []string{"--worker", "--keeper"} {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.role(role)))
		if err != nil {
			t.Fatal(err)
		}
		var kib int
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		fmt.Sscan(rest, &kib)
		t.Logf("%s: %d KiB", role, kib)
		total += kib
	}
	if total > 20<<10 && !need.InVM() { // whose page cache is our memory
		t.Errorf("%d KiB with 100 guests, want 20 MiB at most", total)
	}
}
