package proto

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/seqpacket"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestStart(t *testing.T) {
	for _, s := range []Start{
		{"web1", 4711, guest.ConsoleTTY, 1 << 20, guest.RestartAlways},
		{"a.b_c-d", 1, guest.ConsoleNone, 0, guest.RestartNever},
		{guest.Name(strings.Repeat("n", 63)), 4194304, guest.ConsoleLog, 1<<63 - 1, guest.RestartOnFailure},
	} {
		text := s.Append(nil)
		if len("again ")+len(text)+len(" 1234567890") > 255 {
			t.Errorf("%q is too long for systemd to keep", text)
		}
		if got, err := ParseStart(text); got != s || err != nil {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "web1", "web1 x tty 1 never", "web1 0 tty 1 never", "../x 1 tty 1 never",
		"web1 1 vt100 1 never", "web1 1 tty -1 never", "web1 1 tty 1 sometimes", "web1 1 tty 1 never x", "start 1 tty 1 never"} {
		if s, err := ParseStart([]byte(bad)); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %+v, %v", bad, s, err)
		}
	}
}

func TestRequest(t *testing.T) {
	for text, want := range map[string]Request{
		"attach web1 20":               {Verb: VerbAttach, Name: "web1", Lines: 20, Rows: 20},
		"resize web1 50 132":           {Verb: VerbResize, Name: "web1", Rows: 50, Cols: 132},
		"list":                         {Verb: VerbList},
		"calls web1":                   {Verb: VerbCalls, Name: "web1"},
		"views web1 70000":             {Verb: VerbViews, Name: "web1", PID: 70000},
		"quit":                         {Verb: VerbQuit},
		"start web1 7 log 4096 always": {Verb: VerbStart, Name: "web1", Start: Start{"web1", 7, guest.ConsoleLog, 4096, guest.RestartAlways}},
	} {
		if got, err := ParseRequest([]byte(text)); !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "x", "list all", "attach", "attach web1", "views web1", "views web1 0", "views a/b 1", "attach web1 x", "attach web1 70000", "resize web1 1", "attach a/b 1", "quit now"} {
		if r, err := ParseRequest([]byte(bad)); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %+v, %v", bad, r, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	if err := ParseAnswer(Answer(nil)); err != nil {
		t.Error(err)
	}
	for _, want := range []error{guest.ErrStopped, guest.ErrInvalid, ErrNoConsole, syscall.EIO} {
		sent := fmt.Errorf("web1: %w", want)
		got := ParseAnswer(Answer(sent))
		if got == nil || got.Error() != sent.Error() || errors.Is(got, want) != (want != syscall.EIO) {
			t.Errorf("%v arrives as %v", sent, got)
		}
	}
	if n := len(Answer(errors.New(strings.Repeat("x", 1<<20)))); n > MaxMessage {
		t.Errorf("an answer of %d bytes", n)
	}
	for _, bad := range []string{"", "okay", "no", "no stopped", "yes x y"} {
		if err := ParseAnswer([]byte(bad)); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	w := Watched{"web1", 7, guest.ConsoleTTY, true, 3}
	if got, err := ParseWatched(w.Append(nil)); got != w || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzRequest: what is read is written back the same.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("start web1 7 log 4096 always"))
	f.Add([]byte("attach web1 20"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, err := ParseRequest(msg)
		if err != nil || r.Verb != VerbStart {
			return
		}
		if again, err := ParseStart(r.Start.Append(nil)); again != r.Start || err != nil {
			t.Errorf("%q: %+v, then %+v, %v", msg, r.Start, again, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("no stopped web1: is not running"))
	f.Add([]byte("watched web1 7 tty true 3"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		ParseAnswer(msg)
		ParseWatched(msg)
	})
}

// Nobody there is no error for those who only ask, and starts nothing.
func TestNobody(t *testing.T) {
	dirs := need.Dirs(t)
	if all, err := List(dirs); all != nil || err != nil {
		t.Errorf("List: %v, %v", all, err)
	}
	if err := errors.Join(Quit(dirs), Renew(dirs)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dirs.Run); err == nil {
		t.Error("something was made")
	}
	t.Setenv(launchedVar, "1")
	if err := Launch(dirs); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("launched again: %v", err)
	}
}

// serve answers each message with ok, as vserverd awake does.
func serve(b *testing.B, dirs guest.Dirs) {
	os.MkdirAll(dirs.Run, 0o700)
	l, err := Listen(dirs)
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		buf := make([]byte, MaxMessage)
		for {
			fd, _, err := syscall.Accept4(l, syscall.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			if _, files, err := seqpacket.Recv(fd, buf); err == nil {
				seqpacket.Send(fd, Answer(nil))
				for _, f := range files {
					syscall.Close(f)
				}
			}
			syscall.Close(fd)
		}
	}()
	b.Cleanup(func() { syscall.Shutdown(l, syscall.SHUT_RDWR); syscall.Close(l) })
}

// What telling costs a start; the budget is 100 µs.
func BenchmarkTell(b *testing.B) {
	dirs := need.Dirs(b)
	serve(b, dirs)
	null, err := os.Open(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	fd := int(null.Fd())
	s := Start{"web1", 4711, guest.ConsoleTTY, 1 << 20, guest.RestartAlways}
	b.Run("tell", func(b *testing.B) {
		for b.Loop() {
			told, err := Tell(dirs, s, fd, fd)
			if err != nil {
				b.Fatal(err)
			}
			told.Close()
		}
	})
	b.Run("tell+confirm", func(b *testing.B) {
		for b.Loop() {
			told, err := Tell(dirs, s, fd, fd)
			if err != nil {
				b.Fatal(err)
			}
			if err := told.Confirm(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestNoAnswer says what it was that took too long.
func TestNoAnswer(t *testing.T) {
	if err := of(syscall.EAGAIN); err.Error() != "vserverd: no answer in 10s: i/o timeout" {
		t.Error(err)
	}
	if err := of(io.EOF); !broken(err) {
		t.Errorf("%v: is no end of a vserverd", err)
	}
}
