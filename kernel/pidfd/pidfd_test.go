package pidfd

import (
	"errors"
	"os"
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
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
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

// What /proc says of a zombie is what its parent will see, a reboot included.
func TestZombie(t *testing.T) {
	need.Root(t)
	box := need.Command(t, "busybox")
	for script, want := range map[string]syscall.WaitStatus{
		"exit 0": 0, "exit 7": 7 << 8,
		"exec " + box + " reboot -f":     1,
		box + " poweroff -f; sleep 9":    2,
		"(" + box + " halt -f)& sleep 9": 2,
	} {
		c := exec.Command(box, "sh", "-c", script)
		fd := -1
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, PidFD: &fd}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
			if over, _ := Ended(fd); over {
				break
			}
		}
		if got, ok := Zombie(fd); !ok || got != want {
			t.Errorf("%s: %#x, %v; want %#x", script, got, ok, want)
		}
		c.Wait()
		if seen := c.ProcessState.Sys().(syscall.WaitStatus); seen != want {
			t.Errorf("%s: its parent sees %#x, want %#x", script, seen, want)
		}
		if got, ok := Zombie(fd); ok {
			t.Errorf("%s: taken, and still %#x", script, got)
		}
		syscall.Close(fd)
	}
	if _, ok := Zombie(0); ok {
		t.Error("a file is a zombie")
	}
}

func FuzzZombie(f *testing.F) {
	f.Add("1 (a) b) Z 1 2 3")
	f.Fuzz(func(t *testing.T, stat string) { zombie(stat) })
}

func TestPipeReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-c", "echo text; exec sleep 60")
	c.Stdout = w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	w.Close()
	fd, err := Open(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	again, err := PipeReader(fd, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(again)
	r.Close() // it is another end of the same pipe
	buf := make([]byte, 16)
	for end := time.Now().Add(30 * time.Second); ; {
		n, err := syscall.Read(again, buf)
		if n > 0 && string(buf[:n]) == "text\n" {
			break
		}
		if !errors.Is(err, syscall.EAGAIN) || time.Now().After(end) {
			t.Fatalf("read %q, %v", buf[:max(n, 0)], err)
		}
	}
	if no, err := PipeReader(fd, 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("/dev/null is a pipe: %d, %v", no, err)
	}
	if no, err := PipeReader(fd, 99); !errors.Is(err, syscall.EBADF) {
		t.Errorf("descriptor 99: %d, %v", no, err)
	}
}
