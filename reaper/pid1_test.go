package reaper

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
)

// own gives the reaper of this machine as pid 1 of a pid namespace.
func own(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	need.Root(t)
	file := filepath.Join(t.TempDir(), "reaper")
	if err := os.WriteFile(file, ELF(), 0o755); err != nil {
		t.Fatal(err)
	}
	return pid1(machine{runtime.GOARCH, []string{file}}.command(args...))
}

// TestOpen executes the file that Open gives, as a guest does, and tries to change it.
func TestOpen(t *testing.T) {
	fd, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), Name)
	defer f.Close()
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
	out, err := (&exec.Cmd{Path: path, Args: Args(Command, "/usr/bin:/bin", []string{"sh", "-c", "echo $PPID; cat /proc/$PPID/comm"})}).Output()
	if err != nil || !strings.HasSuffix(string(out), "\n"+Name+"\n") {
		t.Errorf("output %q, %v", out, err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("the file can be written")
	}
	if f, err := os.OpenFile(path, os.O_RDWR|os.O_TRUNC, 0); err == nil {
		t.Error("the file can be truncated")
		f.Close()
	}
	if err := f.Chmod(0o4777); err == nil {
		if st, _ := f.Stat(); st.Mode()&0o111 != 0o111 || st.Mode()&os.ModeSetuid != 0 {
			t.Errorf("mode is now %v", st.Mode())
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, ELF()) {
		t.Errorf("content differs, %v", err)
	}
}

// TestZombies leaves many orphans, nested ones as well, and counts what is dead and
// not reaped.
func TestZombies(t *testing.T) {
	const script = `
for i in $(seq 200); do (sleep 0.05 & (sleep 0.05 &) &) done
sleep 0.5
mount -t proc proc /proc
grep -c '^State:.Z' /proc/[0-9]*/status | grep -vc ':0$'
ls -d /proc/[0-9]* | wc -l`
	cmd := own(t, "command", "--", "/bin/sh", "-c", script)
	out, _ := privateMounts(cmd).Output()
	var zombies, all int
	if _, err := fmt.Sscan(string(out), &zombies, &all); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if zombies != 0 || all > 8 {
		t.Errorf("%d zombies, %d processes", zombies, all)
	}
}

// privateMounts keeps what the command mounts from spreading.
func privateMounts(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS // os/exec makes the root private for it
	return cmd
}

// TestForkStorm has processes orphaned as fast as they can be made.
func TestForkStorm(t *testing.T) {
	cmd := own(t, "command", "--", "/bin/sh", "-c", `for j in 1 2 3 4; do (for i in $(seq 250); do (true &) ; done) & done; wait; echo done; exit 3`)
	out, err := cmd.Output()
	if exitCode(err) != 3 || string(out) != "done\n" {
		t.Errorf("output %q, %v", out, err)
	}
}

// TestCommandEnds sees that what the command leaves behind ends with it.
func TestCommandEnds(t *testing.T) {
	begin := time.Now()
	out, err := own(t, "command", "--", "/bin/sh", "-c", `trap '' TERM HUP; (sleep 60) & setsid sleep 60 & echo up; exit 5`).Output()
	if exitCode(err) != 5 || string(out) != "up\n" || time.Since(begin) > 10*time.Second {
		t.Errorf("output %q, %v after %v", out, err, time.Since(begin))
	}
}

// TestSysvStays sees that mode sysv ends with its last process, not its first, and
// that a signal then reaches everybody.
func TestSysvStays(t *testing.T) {
	out, err := own(t, "sysv", "--", "/bin/sh", "-c", `(sleep 0.3; echo late; exit 9) & echo up; exit 5`).Output()
	if exitCode(err) != 5 || string(out) != "up\nlate\n" {
		t.Errorf("output %q, %v", out, err)
	}
	cmd := own(t, "sysv", "--", "/bin/sh", "-c", `setsid sh -c 'trap "echo one; exit" USR1; echo up; while :; do sleep 0.02; done' & exec setsid sh -c 'trap "echo one; exit" USR1; echo up; while :; do sleep 0.02; done'`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	read(t, r, len("up\nup\n"))
	time.Sleep(20 * time.Millisecond) // so that the one that exec replaced is setsid's child
	syscall.Kill(cmd.Process.Pid, syscall.SIGUSR1)
	cmd.Wait()
	if got := read(t, r, 8); got != "one\none\n" {
		t.Errorf("output %q", got)
	}
}

func read(t *testing.T, r *os.File, n int) string {
	t.Helper()
	r.SetReadDeadline(time.Now().Add(10 * time.Second))
	var got []byte
	for len(got) < n {
		b := make([]byte, n-len(got))
		k, err := r.Read(b)
		got = append(got, b[:k]...)
		if err != nil {
			break
		}
	}
	return string(got)
}

// TestInsideIsSafe sees that processes of the guest cannot end their pid 1, whatever
// they send, and that SIGCHLD from anybody does no harm.
func TestInsideIsSafe(t *testing.T) {
	out, err := own(t, "command", "--", need.Command(t, "bash"), "-c", `trap '' $(seq 1 31 | grep -vx -e 9 -e 19) $(seq 34 64); for i in $(seq 31) $(seq 34 64); do kill -$i 1; done; kill -9 1; sleep 0.1; echo alive; exit 6`).Output()
	if exitCode(err) != 6 || string(out) != "alive\n" {
		t.Errorf("output %q, %v", out, err)
	}
}

// TestState looks at what the child inherits: signal mask, dispositions, files,
// session, name.
func TestState(t *testing.T) {
	cmd := own(t, "command", "--", "/bin/sh", "-c", `mount -t proc proc /proc; grep -e SigBlk -e SigIgn /proc/thread-self/status; test -p /dev/fd/3 || echo closed; cut -d" " -f 5,6 /proc/self/stat; cat /proc/1/comm`)
	privateMounts(cmd)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w}
	out, err := cmd.Output()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	// What is ignored comes from whoever starts the reaper, here from us. The group and
	// session of the shell's child are the shell's: number 2.
	want := "SigBlk: 0000000000000000 SigIgn: " + ignored(t) + " closed 2 2 " + Name
	if got := strings.Join(strings.Fields(string(out)), " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// ignored returns the signals that we ignore, as /proc shows them: make's children
// ignore number 32, which its C library keeps for itself.
func ignored(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "SigIgn:")
	return strings.Fields(after)[0]
}

// BenchmarkTrue is fork, execution of the reaper, of /bin/true, and the end of both;
// the other line is without the reaper.
func BenchmarkTrue(b *testing.B) {
	need.Root(b)
	file := filepath.Join(b.TempDir(), "reaper")
	if err := os.WriteFile(file, ELF(), 0o755); err != nil {
		b.Fatal(err)
	}
	for name, args := range map[string][]string{
		"reaper": {file, "command", "--", "/bin/true"},
		"bare":   {"/bin/true"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := pid1(exec.Command(args[0], args[1:]...)).Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		fd, err := Open()
		if err != nil {
			b.Fatal(err)
		}
		syscall.Close(fd)
	}
}

// TestMemory holds what an idle reaper takes: text, stack, and the page tables of one
// place in memory.
func TestMemory(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("only on amd64 the text is moved next to the stack")
	}
	cmd := own(t, "command", "--", "/bin/sleep", "60")
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var left string
	for range 200 {
		time.Sleep(5 * time.Millisecond)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		must(err)
		var rss, tables int
		for line := range strings.Lines(string(status)) {
			fmt.Sscanf(line, "VmRSS: %d kB", &rss)
			fmt.Sscanf(line, "VmPTE: %d kB", &tables)
		}
		// Arguments and environment can lie across a border of pages, the two across one
		// of 2 MiB.
		if rss > 0 && rss <= 16 && tables <= 16 {
			return
		}
		left = fmt.Sprintf("%d KiB resident, %d KiB of page tables", rss, tables)
	}
	t.Error(left)
}
