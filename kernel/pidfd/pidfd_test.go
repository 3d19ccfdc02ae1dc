package pidfd

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// run starts a shell and gives its descriptor.
func run(t *testing.T, script string) (*exec.Cmd, int) {
	t.Helper()
	c := exec.Command("sh", "-c", script)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := Open(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd); c.Process.Kill(); c.Wait() })
	return c, fd
}

func TestLife(t *testing.T) {
	c, fd := run(t, "exec sleep 60")
	if pid, err := PID(fd); err != nil || pid != c.Process.Pid {
		t.Errorf("PID = %d, %v; want %d", pid, err, c.Process.Pid)
	}
	if ended, err := Ended(fd); ended || err != nil {
		t.Errorf("Ended = %v, %v before the end", ended, err)
	}
	if _, err := Status(fd); !errors.Is(err, ErrNoStatus) {
		t.Errorf("Status before the end: %v", err)
	}
	if err := Signal(fd, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	c.Wait()
	if ended, err := Ended(fd); !ended || err != nil {
		t.Errorf("Ended = %v, %v after the end", ended, err)
	}
	if pid, err := PID(fd); err != nil || pid != -1 {
		t.Errorf("PID = %d, %v after the end; want -1", pid, err)
	}
	if err := Signal(fd, syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("Signal after the end: %v", err)
	}
}

func TestStatus(t *testing.T) {
	need.Kernel(t, 6, 15)
	for script, want := range map[string]syscall.WaitStatus{
		"exit 0": 0, "exit 7": 7 << 8, "kill -KILL $$": 9, "kill -HUP $$": 1,
	} {
		c, fd := run(t, script)
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
			if over, _ := Ended(fd); over {
				break
			}
		}
		if _, err := Status(fd); !errors.Is(err, ErrNoStatus) {
			t.Errorf("%s: status before it was taken: %v", script, err)
		}
		c.Wait()
		if got, err := Status(fd); err != nil || got != want {
			t.Errorf("%s: Status = %#x, %v; want %#x", script, got, err, want)
		}
	}
}

func TestNoProcess(t *testing.T) {
	c := exec.Command("true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if fd, err := Open(c.Process.Pid); !errors.Is(err, syscall.ESRCH) {
		syscall.Close(fd)
		t.Errorf("Open of a dead process: %v", err)
	}
	if _, err := PID(0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("PID of a file: %v", err)
	}
}
