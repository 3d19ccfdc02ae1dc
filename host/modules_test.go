package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/internal/need"
)

// A guest has no modules loaded by the names of file systems, but for those that it may
// mount; the host has.
func TestModulesOfGuests(t *testing.T) {
	need.VM(t)
	w := newWorld(t)
	dir := need.TempDir(t)
	log, helper := filepath.Join(dir, "log"), filepath.Join(dir, "modprobe")
	if err := os.WriteFile(helper, []byte("#!/bin/sh\necho \"$@\" >>"+log+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	const setting = "/proc/sys/kernel/modprobe"
	was, err := os.ReadFile(setting)
	if err == nil {
		err = os.WriteFile(setting, []byte(helper), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(setting, was, 0) })
	asked := func(module string) bool {
		text, _ := os.ReadFile(log)
		os.Remove(log)
		return strings.Contains(string(text), module+"\n")
	}
	w.limited("web1", guest.Limits{})
	eventually(t, "kept", func() bool {
		if _, code := w.sh("web1", "mount -t nosuch none /mnt"); code == 0 {
			t.Error("mounted")
		}
		return !asked("fs-nosuch")
	})
	// It is asked for when it is not there: another test may have had it loaded.
	if err := unix.DeleteModule("binfmt_misc", unix.O_NONBLOCK); err != nil && !errors.Is(err, unix.ENOENT) {
		t.Logf("binfmt_misc stays loaded: %v", err)
	} else if w.sh("web1", "mount -t binfmt_misc none /mnt"); !asked("fs-binfmt_misc") {
		t.Error("what it may mount was not asked for")
	}
	if syscall.Mount("none", dir, "nosuch", 0, ""); !asked("fs-nosuch") {
		t.Error("the host did not ask")
	}
	w.killWorker()
	if w.sh("web1", "mount -t nosuch none /mnt"); asked("fs-nosuch") {
		t.Error("asked without a worker")
	}
}
