package host

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/life"
	"vserver/kernel/file"
)

// The end of a guest that nobody has taken note of is not told as the one before.
func TestEndNotNoted(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	w.start(n)
	w.stop(n)
	w.start(n)
	if err := proto.Quit(w.Dirs); err != nil {
		t.Fatal(err)
	}
	if err := w.Kill(n, guest.Signal(syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	st, err := w.Status(n)
	if err != nil || st.State != guest.Stopped || st.LastExit == nil || st.LastExit.Reason != guest.Unknown || !st.LastExit.Time.IsZero() {
		t.Errorf("%+v, %v", st, err)
	}
	if err := w.Stop(t.Context(), n, StopOptions{}); !errors.Is(err, guest.ErrStopped) {
		t.Errorf("a stop: %v", err)
	}
	if st, _ = w.Status(n); st.LastExit == nil || st.LastExit.Reason != guest.Unknown || st.LastExit.Time.IsZero() {
		t.Errorf("once it is noted: %+v", st.LastExit)
	}
}

// A dead init takes signals as long as its parent has not taken its exit status. That
// is no reason to say that it got one.
func TestKillDeadInit(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	r, err := life.Start(t.Context(), w.Dirs, n, StartOptions{Output: t.Output()}) // and no wait
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := w.Kill(n, guest.Signal(syscall.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	if err := w.Kill(n, guest.Signal(syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if err := w.Kill(n, guest.Signal(syscall.SIGTERM)); !errors.Is(err, guest.ErrStopped) {
		t.Errorf("signal to a dead init: %v", err)
	}
	if code, err := w.Exec(t.Context(), n, Command{Args: []string{"/bin/true"}}); !errors.Is(err, guest.ErrStopped) {
		t.Errorf("exec beside a dead init: %d, %v", code, err)
	}
	if _, err := r.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// The lock of a guest goes with it.
func TestLockGoes(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	w.start(n)
	w.stop(n)
	if there, err := file.Exists(w.Dirs.Lock(n)); err != nil || !there {
		t.Errorf("the lock of a guest: %v, %v", there, err)
	}
	if err := w.Rename(t.Context(), n, "web2"); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), "web2", DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no lock", func() bool { // vserverd may be looking at its end just now
		left, err := os.ReadDir(filepath.Dir(w.Dirs.Lock(n)))
		return err == nil && len(left) == 0
	})
}
