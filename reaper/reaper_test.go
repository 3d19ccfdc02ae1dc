package reaper

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
	"vserver/kernel/eventfd"
)

func TestMain(m *testing.M) { need.Main(m) }

// machine is one build of the reaper and how it is run.
type machine struct {
	arch string
	run  []string // the emulator, if any, and the file
}

// machines are this one, and the others that an emulator is there for.
func machines(t *testing.T) []machine {
	t.Helper()
	write := func(arch string, elf []byte) string {
		file := filepath.Join(t.TempDir(), "reaper-"+arch)
		if err := os.WriteFile(file, elf, 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	out := []machine{{runtime.GOARCH, []string{write(runtime.GOARCH, ELF())}}}
	for arch, emulator := range map[string]string{"arm64": "qemu-aarch64-static", "arm": "qemu-arm-static"} {
		if _, err := exec.LookPath(emulator); err != nil || arch == runtime.GOARCH {
			continue
		}
		if elf := cross(t, arch, emulator); elf != nil {
			out = append(out, machine{arch, []string{emulator, write(arch, elf)}})
		}
	}
	return out
}

// cross gives the reaper as a build for another architecture has it.
func cross(t *testing.T, arch, emulator string) []byte {
	t.Helper()
	if !need.HasGo() {
		return nil
	}
	dump := filepath.Join(t.TempDir(), "dump-"+arch)
	build := exec.Command("go", "build", "-o", dump, "./testdata/dump")
	build.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build for %s: %v\n%s", arch, err, out)
	}
	elf, err := exec.Command(emulator, dump).Output()
	if err != nil {
		t.Fatalf("%s: %v", arch, err)
	}
	return elf
}

// command gives the reaper of a machine with its arguments.
func (m machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(m.run[0], append(slices.Clone(m.run[1:]), args...)...)
	if len(m.run) == 1 {
		cmd.Args[0] = Name
	}
	return cmd
}

// as runs the reaper as pid 1 of a pid namespace.
func pid1(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -2
	}
	return 0
}

// TestMachines holds the rules that need no namespace on each architecture.
func TestMachines(t *testing.T) {
	notExec := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notExec, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("/nowhere%d/sh", i))
	}
	many = append(append([]string{"command"}, many...), "/bin/sh", "--", "sh", "-c", "exit 9")
	for _, m := range machines(t) {
		for _, c := range []struct {
			args  []string
			code  int
			errno syscall.Errno
			out   string
		}{
			{[]string{"command", "--", "/bin/sh", "-c", "exit 0"}, 0, 0, ""},
			{Hold()[1:], 0, 0, ""},
			{[]string{"command", "--", "/bin/sh", "-c", "exit 200"}, 200, 0, ""},
			{[]string{"command", "--", "/bin/sh", "-c", "kill -TERM $$"}, 143, 0, ""},
			{[]string{"sysv", "--", "/bin/sh", "-c", "exit 4"}, 4, 0, ""},
			{[]string{"command", "--", "/bin/echo", "--", "x"}, 0, 0, "-- x\n"},
			{[]string{"command", "--", "/bin/sh", "-c", `echo "$0 $*" $VAR`, "--", "a b"}, 0, 0, "-- a b here\n"},
			{[]string{"command", "/nowhere/sh", notExec + "/sh", "/bin/sh", "/bin/false", "--", "sh", "-c", "echo $0"}, 0, 0, "sh\n"},
			{many, 9, 0, ""},
			{[]string{"command", "--", "/nowhere/sh"}, 127, syscall.ENOENT, ""},
			{[]string{"command", "/nowhere/a", "/nowhere/b", "--", "a"}, 127, syscall.ENOENT, ""},
			{[]string{"command", notExec, "/nowhere/b", "--", "a"}, 126, syscall.EACCES, ""},
			{[]string{"command", "--", notExec}, 126, syscall.EACCES, ""},
			{[]string{"command", garbage, "/bin/true", "--", "a"}, 126, syscall.ENOEXEC, ""},
			{[]string{"command", "--"}, 126, syscall.EINVAL, ""},
			{[]string{"command"}, 126, syscall.EINVAL, ""},
			{[]string{"command", "/bin/true", "x", "-", "-x", "--x", ""}, 126, syscall.EINVAL, ""},
			{nil, 126, syscall.EINVAL, ""},
			{Exec([]string{"/bin/sh"}, []string{"sh", "-c", "exit 200"})[1:], 200, 0, ""},
			{Exec([]string{"/nowhere/sh", notExec, "/bin/sh", "/bin/false"}, []string{"-sh", "-c", `echo "$0" $VAR`})[1:], 0, 0, "-sh here\n"},
			{Exec([]string{"/nowhere/a", "/nowhere/b"}, []string{"a", "--"})[1:], 127, syscall.ENOENT, ""},
			{Exec([]string{notExec}, []string{"a"})[1:], 126, syscall.EACCES, ""},
			{Exec([]string{garbage, "/bin/true"}, []string{"a"})[1:], 126, syscall.ENOEXEC, ""},
		} {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			cmd := m.command(c.args...)
			cmd.Stdout = &out
			cmd.Env = append(os.Environ(), "VAR=here")
			cmd.ExtraFiles = []*os.File{w}
			if m.arch != runtime.GOARCH && c.errno == syscall.ENOEXEC {
				continue // the emulator itself explains it
			}
			err = cmd.Run()
			w.Close()
			report, _ := io.ReadAll(r)
			r.Close()
			if got := exitCode(err); got != c.code {
				t.Errorf("%s: %q: exit code %d, want %d", m.arch, c.args, got, c.code)
			}
			var want []byte
			if c.errno != 0 {
				want = binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, ReportEntry), uint32(c.errno))
			}
			if !bytes.Equal(report, want) {
				t.Errorf("%s: %q: report %x, want %x", m.arch, c.args, report, want)
			}
			if out.String() != c.out {
				t.Errorf("%s: %q: output %q, want %q", m.arch, c.args, &out, c.out)
			}
		}
	}
}

// TestScripts sees the code of scripts told once, when they have ended and somebody is left,
// and only then.
func TestScripts(t *testing.T) {
	need.Root(t)
	for _, m := range machines(t) {
		for _, c := range []struct {
			mode, script string
			told         string // what file 4 has when the reaper is over
		}{
			{"sysv", "sleep 0.2 & exit 5", "6"},
			{"sysv", "(sleep 0.1; true) & (sleep 0.2; true) & kill -TERM $$", "144"},
			{"sysv", "sleep 0.2 & exit 0", "1"},
			{"sysv", "test -e /proc/self/fd/4 && exit 7; sleep 0.2 & exit 5", "6"}, // the child has not got it
			{"sysv", "exit 5", "0"},
			{"command", "sleep 0.2 & exit 5", "0"},
		} {
			told, err := eventfd.New("told")
			if err != nil {
				t.Fatal(err)
			}
			cmd := m.command(c.mode, "--", "/bin/sh", "-c", c.script)
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			cmd.ExtraFiles = []*os.File{null, told}
			pid1(cmd).Run()
			null.Close()
			told.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			n, err := eventfd.Wait(told)
			if got := strconv.FormatUint(n, 10); got != c.told {
				t.Errorf("%s: %s %q: told %s, %v; want %s", m.arch, c.mode, c.script, got, err, c.told)
			}
			told.Close()
		}
	}
}

// TestReportCloses sees end-of-file while the command runs.
func TestReportCloses(t *testing.T) {
	for _, m := range machines(t) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := m.command("command", "--", "/bin/sleep", "60")
		cmd.ExtraFiles = []*os.File{w}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		r.SetReadDeadline(time.Now().Add(10 * time.Second))
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("%s: report %x, %v", m.arch, rest, err)
		}
		r.Close()
		cmd.Process.Signal(syscall.SIGTERM) // reaches the sleep
		if got := exitCode(cmd.Wait()); got != 128+15 {
			t.Errorf("%s: exit code %d", m.arch, got)
		}
	}
}

// TestSignals sends every signal that a process can be sent to the reaper and sees
// the child get it.
func TestSignals(t *testing.T) {
	const script = `for s in HUP INT QUIT USR1 USR2 TERM PWR WINCH CONT TSTP RTMIN+3 RTMAX; do trap "echo $s" $s; done; echo ready; while :; do sleep 0.01; done`
	bash := need.Command(t, "bash") // which knows all signals by name
	for _, m := range machines(t) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := m.command("command", "--", bash, "-c", script)
		cmd.Stdout = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		r.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 64)
		for _, s := range []struct {
			n    syscall.Signal
			want string
		}{{0, "ready"}, {1, "HUP"}, {2, "INT"}, {3, "QUIT"}, {10, "USR1"}, {12, "USR2"}, {15, "TERM"}, {30, "PWR"},
			{28, "WINCH"}, {18, "CONT"}, {20, "TSTP"}, {37, "RTMIN+3"}, {64, "RTMAX"}} {
			if m.arch != runtime.GOARCH && s.n >= 32 {
				continue // the emulator has a use of its own for some
			}
			cmd.Process.Signal(s.n)
			n, err := r.Read(buf)
			if got := string(buf[:n]); got != s.want+"\n" {
				t.Errorf("%s: signal %d: child printed %q, %v", m.arch, s.n, got, err)
			}
		}
		cmd.Process.Signal(syscall.SIGALRM) // not trapped: ends the child
		cmd.Wait()
		r.Close()
	}
}

func TestArgs(t *testing.T) {
	for _, c := range []struct {
		search string
		cmd    []string
		want   string
	}{
		{"/usr/bin:/bin", []string{"sh", "-c", "x"}, "vserver-init command /usr/bin/sh /bin/sh -- sh -c x"},
		{"/usr/bin:/bin", []string{"/bin/sh"}, "vserver-init command -- /bin/sh"},
		{":.:/a/../b::", []string{"sh"}, "vserver-init command /b/sh -- sh"},
		{"", []string{"sh"}, "vserver-init command -- sh"},
		{"/bin", []string{"a/sh"}, "vserver-init command -- a/sh"},
	} {
		if got := strings.Join(Args(Command, c.search, c.cmd), " "); got != c.want {
			t.Errorf("Args(%q, %q): %s, want %s", c.search, c.cmd, got, c.want)
		}
	}
}
