package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
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

// A short list says of each guest what the whole one says, as far as it says anything.
func TestListShort(t *testing.T) {
	w := newWorld(t)
	w.guest("rests", nil)
	w.start(w.guest("runs", nil))
	if err := os.WriteFile(w.Dirs.Spec("broken"), []byte("xid: no number\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := w.List(true)
	if err != nil {
		t.Fatal(err)
	}
	short, err := w.List(false)
	if err != nil || len(list) != 3 || len(short) != len(list) {
		t.Fatalf("%d of %d guests, %v", len(short), len(list), err)
	}
	for i, is := range short {
		want := list[i]
		if is.Name != want.Name || is.State != want.State || is.XID != want.XID || is.InitPID != want.InitPID ||
			is.Mode != want.Mode || !is.Started.Equal(want.Started) || !slices.Equal(is.Addresses, want.Addresses) {
			t.Errorf("short %+v, list %+v", is, want)
		}
	}
	if list[2].State != guest.Running || list[2].Processes == 0 {
		t.Errorf("the list: %+v", list[2])
	}
}

// Open files of all processes are counted.
func TestHeld(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	w.start(n)
	held := func() int64 {
		st, err := w.Status(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range st.Limits {
			if p.Name == "files" && p.Max == 0 && p.Hits == nil {
				return p.Used
			}
		}
		t.Fatalf("no files: %+v", st.Limits)
		return 0
	}
	files := held()
	if out, code := w.sh(n, "/bin/sh -c 'exec 5</bin/sh 6</bin/sh; kill -STOP $$' >/dev/null 2>&1 </dev/null &"); code != 0 {
		t.Fatal(out)
	}
	eventually(t, "files", func() bool { return held() == files+5 })
}
