package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"

	"vserver/daemon/loop"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/hoard"
	"vserver/kernel/seqpacket"
)

// What happens to guests is told to whoever asks, by the next worker as well.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	stream, err := proto.Watch(w.dirs, false)
	if err != nil {
		t.Fatal(err)
	}
	next := func(want ...guest.EventKind) (e guest.Event) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, kind := range want {
			if e, err = stream.Next(ctx); err != nil || e.Kind != kind || e.Guest != "web1" || time.Since(e.Time) > time.Hour {
				t.Fatalf("%+v, %v; want %s", e, err, kind)
			}
		}
		return e
	}
	w.write("web1.start", "fails\n")
	w.guest(proto.Start{Name: "web1", Console: guest.ConsoleNone, Restart: guest.RestartOnFailure}, "exit 3")
	if e := next(guest.EventStarted, guest.EventEnded); e.Exit == nil || e.Exit.Code != 3 || e.Text != "exited with code 3" {
		t.Errorf("%+v", e)
	}
	if e := next(guest.EventRestart); e.Start.Before(e.Time) || e.Text != "starts again in 1s" {
		t.Errorf("%+v", e)
	}
	if e := next(guest.EventFailed); e.Text != "does not start: cannot start" {
		t.Errorf("%+v", e)
	}
	next(guest.EventRestart)

	w.kill("--worker")
	if e, err := stream.Next(t.Context()); err != io.EOF {
		t.Errorf("of a dead worker: %+v, %v", e, err)
	}
	stream.Close()
	if stream, err = proto.Watch(w.dirs, true); err != nil {
		t.Fatal(err)
	}
	w.write("web1.stopping", "")
	w.guest(proto.Start{Name: "web1", Console: guest.ConsoleNone}, "exit 0")
	if e := next(guest.EventStarted, guest.EventEnded); e.Exit == nil || e.Exit.Reason != guest.StoppedBy {
		t.Errorf("%+v", e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if e, err := stream.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %+v, %v", e, err)
	}
}

// listener is a worker with a client that is told of events.
func listener(t *testing.T) (w *worker, theirs int) {
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	w = &worker{guests: map[guest.Name]*watched{}, clients: map[*client]bool{}, say: t.Logf, loop: l}
	ours, theirs, err := seqpacket.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(theirs) })
	if err := errors.Join(syscall.SetNonblock(ours, true), syscall.SetNonblock(theirs, true)); err != nil {
		t.Fatal(err)
	}
	cl := &client{w: w, fd: ours, told: true}
	w.clients[cl] = true
	t.Cleanup(func() {
		if cl.fd >= 0 {
			syscall.Close(cl.fd)
		}
	})
	return w, theirs
}

// heard gives the texts of what was told.
func heard(t *testing.T, fd int) (texts []string) {
	for buf := make([]byte, proto.MaxMessage); ; {
		n, _, err := seqpacket.Recv(fd, buf)
		if err != nil {
			return texts
		}
		var e guest.Event
		if err := json.Unmarshal(buf[:n], &e); err != nil {
			t.Fatalf("%s: %v", buf[:n], err)
		}
		texts = append(texts, string(e.Guest)+" "+e.Text)
	}
}

// Hits are told once, and none that were there before anybody looked.
func TestTellHits(t *testing.T) {
	w, theirs := listener(t)
	was := &watched{Start: proto.Start{Name: "was"}}
	fresh := &watched{Start: proto.Start{Name: "fresh"}, hits: hits{}}
	for _, n := range []uint64{3, 3, 4} {
		list := []guest.Pool{{Name: "pids", Hits: &n}, {Name: "cpu", Hits: &n}, {Name: "cgroups"}}
		w.tellHits(was, list)
		w.tellHits(fresh, list)
		w.tellHits(fresh, nil) // it could not be looked at
	}
	want := []string{"fresh hit its limit of pids 3 times", "was hit its limit of pids", "fresh hit its limit of pids"}
	if got := heard(t, theirs); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Who does not take what he is told is sent away, after what he was told.
func TestDeaf(t *testing.T) {
	w, theirs := listener(t)
	told := 0
	for ; len(w.clients) > 0; told++ {
		w.tell(guest.Event{Guest: "web1", Kind: guest.EventStarted, Text: "was started"})
	}
	if got := len(heard(t, theirs)); got != told-1 || got == 0 {
		t.Errorf("told %d times, heard %d", told, got)
	}
	if _, _, err := seqpacket.Recv(theirs, make([]byte, 16)); err != io.EOF {
		t.Error(err)
	}
}

// What was ended for its locks is told.
func TestHoarded(t *testing.T) {
	w, theirs := listener(t)
	w.hoarded(hoard.Ended{Guest: "web1", Locks: 1300, Killed: 2})
	if got := heard(t, theirs); !slices.Equal(got, []string{"web1 has 1300 locks on files, so 2 processes were killed"}) {
		t.Errorf("%q", got)
	}
}
