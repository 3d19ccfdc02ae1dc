package bpf

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/ebpf"
)

func TestMain(m *testing.M) { need.Main(m) }

// The text of the program for one layout changes only on purpose.
func TestEndedText(t *testing.T) {
	l := Layout{ExitCode: 100, ThreadPID: 200, Level: 4, Numbers: 96, Namespace: 8, UpidSize: 16, Reboot: 72, Pointer: ebpf.DWord}
	got := ebpf.Text(Ended(3, l))
	const golden = "testdata/ended.golden"
	if *update {
		os.WriteFile(golden, []byte(got), 0o644)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("program changed (go test -update):\n%s", got)
	}
}

var update = flag.Bool("update", false, "write the golden files") //house:allow a test flag

// watch attaches Ended, or skips the test where the kernel cannot.
func watch(t testing.TB) *Notes {
	t.Helper()
	need.Root(t)
	n, err := WatchEnds()
	if errors.Is(err, guest.ErrUnsupported) {
		t.Skipf("need btf: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// inits are first processes of pid namespaces, in every way of ending.
func inits(busybox string) map[string][]string {
	sh := func(script string) []string { return []string{busybox, "sh", "-c", script} }
	return map[string][]string{
		"exits 0":        sh("exit 0"),
		"exits 7":        sh("exit 7"),
		"reboots":        {busybox, "reboot", "-f"},
		"powers off":     {busybox, "poweroff", "-f"},
		"child reboots":  sh(busybox + " reboot -f; sleep 9"),
		"child halts":    sh(busybox + " halt -f; sleep 9"),
		"orphan reboots": sh("(sleep 0.1; " + busybox + " reboot -f)& sleep 9"),
		"killed by host": sh("sleep 9"),
		"has threads":    {os.Args[0], "-test.run=^$"}, // Go makes some
	}
}

func TestNotes(t *testing.T) {
	n := watch(t)
	for name, args := range inits(need.Command(t, "busybox")) {
		t.Run(name, func(t *testing.T) {
			gate, opened, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			// The init waits until it is watched.
			c := exec.Command(need.Command(t, "busybox"), append([]string{"sh", "-c", `read x; exec "$@"`, "sh"}, args...)...)
			c.Stdin = gate
			c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			gate.Close()
			pid := c.Process.Pid
			defer n.Forget(pid)
			if err := n.Watch(pid); err != nil {
				t.Error(err)
			}
			if _, ok := n.Read(pid); ok {
				t.Error("a note before the end")
			}
			opened.WriteString("\n")
			opened.Close()
			if name == "killed by host" {
				time.Sleep(50 * time.Millisecond)
				c.Process.Kill()
			}
			c.Wait()
			want := c.ProcessState.Sys().(syscall.WaitStatus)
			if got, ok := n.Read(pid); !ok || got != want {
				t.Errorf("note %#x, %v; the parent saw %#x", got, ok, want)
			}
		})
	}
}

// Another process, as the keeper's next worker, goes on with the descriptors.
func TestHandOver(t *testing.T) {
	n := watch(t)
	a, err1 := syscall.Dup(n.Map)
	b, err2 := syscall.Dup(n.Attached)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	next := &Notes{a, b}
	defer next.Close()
	c := exec.Command("sleep", "9")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Watch(c.Process.Pid); err != nil {
		t.Error(err)
	}
	c.Process.Kill()
	c.Wait()
	if err := next.Watch(c.Process.Pid); err != nil { // its note stays
		t.Error(err)
	}
	if got, ok := next.Read(c.Process.Pid); !ok || got != 9 {
		t.Errorf("note %#x, %v; want 9", got, ok)
	}
	if err := errors.Join(next.Forget(c.Process.Pid), next.Forget(c.Process.Pid)); err != nil {
		t.Error(err)
	}
	if _, ok := n.Read(c.Process.Pid); ok {
		t.Error("a note after Forget")
	}
}

func BenchmarkFindLayout(b *testing.B) {
	for b.Loop() {
		if _, err := FindLayout(); err != nil {
			b.Skip(err)
		}
	}
}

// What the watch costs a process that is not a guest's init.
func BenchmarkOtherProcess(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("watched=%v", on), func(b *testing.B) {
			if on {
				watch(b)
			}
			for b.Loop() {
				exec.Command("/bin/true").Run()
			}
		})
	}
}
