package console

import (
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
)

// The output of a process is read only when it is a guest's that has begun: not that
// of a first process at its gate, which still runs our program and has our caller's
// output, and not a pipe of the host's own.
func TestReopenTakesNobodysPipe(t *testing.T) {
	need.Root(t)
	const base = 524288
	for _, tt := range []struct {
		name    string
		program string
		owner   int
		want    bool
	}{
		{"a guest's", "sleep", base, true},
		{"of the host's root", "sleep", 0, false},
		{"at its gate", "/proc/self/exe", base, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := w.Chown(tt.owner, tt.owner); err != nil {
				t.Fatal(err)
			}
			c := exec.Command(tt.program, "100")
			if tt.program != "sleep" {
				c.Args = []string{c.Path, "-test.run=^TestSleeper$", "-test.timeout=100s"}
				c.Env = append(os.Environ(), "SLEEPER=1", "TMPDIR="+t.TempDir()) // it is killed, and leaves its own
			}
			stop, err := c.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			c.Stdout = w
			c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{HostID: base, Size: 65536}},
				GidMappings: []syscall.SysProcIDMap{{HostID: base, Size: 65536}}}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			defer func() { stop.Close(); c.Process.Kill(); c.Wait() }()
			fd := Reopen(proto.Start{Name: "web1", InitPID: c.Process.Pid, Console: guest.ConsoleLog})
			if got := fd >= 0; got != tt.want {
				exe, _ := os.Readlink("/proc/" + strconv.Itoa(c.Process.Pid) + "/exe")
				t.Errorf("taken: %v, want %v (%s)", got, tt.want, exe)
			}
			if fd >= 0 {
				syscall.Close(fd)
			}
		})
	}
}

// TestSleeper is a process of our own program.
func TestSleeper(t *testing.T) {
	if os.Getenv("SLEEPER") != "" {
		io.Copy(io.Discard, os.Stdin)
	}
}
