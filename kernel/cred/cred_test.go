package cred

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// The kernel's own word on its highest capability is what asking for each comes to.
func TestLastCap(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Fatal(err)
	}
	want, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if got := LastCap(); got != want {
		t.Errorf("%d, the kernel says %d", got, want)
	}
	if known(want+1) || !known(0) {
		t.Errorf("the one above is known: %v, chown is: %v", known(want+1), known(0))
	}
}

// As makes files as somebody else's, and may still read what root may; the process stays
// what it was.
func TestAs(t *testing.T) {
	need.Root(t)
	at := need.TempDir(t)
	shut := filepath.Join(at, "shut")
	if err := errors.Join(os.WriteFile(shut, nil, 0o600), os.Chmod(at, 0o700)); err != nil {
		t.Fatal(err)
	}
	effective := func() uint32 {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&hdr, &data[0]); err != nil {
			t.Error(err)
		}
		return data[0].Effective
	}
	own := filepath.Join(at, "own")
	err := As(70001, 70002, func() error {
		if effective()>>unix.CAP_SYS_RESOURCE&1 == 1 {
			t.Error("limits do not hold")
		}
		_, err := os.ReadFile(shut)
		return errors.Join(err, os.WriteFile(own, nil, 0o644))
	})
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(own, &st); err != nil || st.Uid != 70001 || st.Gid != 70002 {
		t.Errorf("%d:%d %v", st.Uid, st.Gid, err)
	}
	if err := os.WriteFile(own+"2", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(own+"2", &st); err != nil || st.Uid != 0 {
		t.Errorf("after it: %d %v", st.Uid, err)
	}
	want := errors.New("said")
	if err := As(1, 1, func() error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
}
