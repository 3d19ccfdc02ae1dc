package sysctl

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/ns"
	"vserver/kernel/pidfd"
	"vserver/kernel/proc"
)

// apart starts a process in IPC, UTS and network namespaces of its own, and gives its
// pidfd.
func apart(t *testing.T) int {
	t.Helper()
	need.Root(t)
	c := exec.Command(need.Command(t, "sleep"), "1000")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	fd, err := pidfd.Open(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	return fd
}

// Give changes what is the guest's, and nothing of the host's.
func TestGive(t *testing.T) {
	fd := apart(t)
	want := map[string]string{"kernel.sem": "100\t200\t30\t40", "kernel.shmmax": "12345678", "fs.mqueue.msg_max": "9",
		"kernel.domainname": "guests.example", "net.ipv4.ip_local_port_range": "20000\t30000"}
	before := map[string]string{}
	for name := range want {
		before[name], _ = proc.Sysctl(name)
	}
	was, err := Give(fd, 0, want, true)
	if err != nil || len(was) != len(want) {
		t.Fatal(was, err)
	}
	// What is refused leaves the others as they are.
	if _, err := Give(fd, 0, map[string]string{"kernel.sem": "101 201 31 41", "kernel.shmmax": "no"}, true); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a size that is none: %v", err)
	}
	err = ns.Inside(fd, syscall.CLONE_NEWIPC|syscall.CLONE_NEWUTS|syscall.CLONE_NEWNET, func() error {
		for name, value := range want {
			if got, err := proc.Sysctl(name); err != nil || got != value {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for name, value := range before {
		if now, _ := proc.Sysctl(name); now != value {
			t.Errorf("%s of the host was %q and is %q", name, value, now)
		}
	}
}

// What is the host's cannot be reached by way of a guest's network, whatever the checks
// of a spec have let through.
func TestGiveRefused(t *testing.T) {
	fd := apart(t)
	for name, c := range map[string]struct {
		value string
		want  error
	}{
		"net.core.no_such_setting": {"1", guest.ErrUnsupported},
		"kernel.sem":               {"x", syscall.EINVAL},
	} {
		_, err := Give(fd, 0, map[string]string{name: c.value}, true)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Give(fd, 0, nil, true); err != nil {
		t.Error(err)
	}
}
