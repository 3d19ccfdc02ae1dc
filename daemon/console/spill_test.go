package console

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/daemon/logtail"
	"vserver/daemon/loop"
	"vserver/guest"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestSpill(t *testing.T) {
	s, err := NewSpill(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	read := func(text string) {
		copy(s.begin("web1", 42), text)
		s.read(len(text))
	}
	left := func(name guest.Name, at int64, data string) {
		t.Helper()
		n, a, d := s.left()
		if n != name || a != at || string(d) != data {
			t.Errorf("left %q at %d: %q; want %q at %d: %q", n, a, d, name, at, data)
		}
		if n, _, d := s.left(); n != "" || len(d) > 0 {
			t.Errorf("left again: %q %q", n, d)
		}
	}
	left("", 0, "")
	read("done with")
	s.done(9)
	left("", 0, "")
	read("not written\x00")
	left("web1", 42, "not written\x00")
	copy(s.begin("web2", 7), "length not noted") // killed in the read
	left("web2", 7, "length not noted")
	s.begin("web3", 1) // killed before anything was read
	left("web3", 1, "")
	copy(s.begin("web4", 1), "dirty")
	s.read(5)
	s.state(spillEmpty) // killed while it was emptied
	left("", 0, "")
	copy(s.begin("web5", 1), "x")
	left("web5", 1, "x")
	copy(s.mem[spillName:], "no/name\x00")
	s.state(spillFull)
	left("", 0, "")
}

// world is a world with a guest web1.
func world(t *testing.T) guest.Dirs {
	dirs := need.Dirs(t)
	spec := dirs.Spec("web1")
	if err := errors.Join(os.MkdirAll(filepath.Dir(spec), 0o700), os.WriteFile(spec, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return dirs
}

// The worker that comes after a kill writes to the log what the one before had read.
func TestRecover(t *testing.T) {
	dirs := world(t)
	s, err := NewSpill(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(dirs, "web1", 0)
	defer l.close()
	write := func(text string, killed bool) {
		t.Helper()
		at, err := l.end()
		if err != nil {
			t.Fatal(err)
		}
		copy(s.begin("web1", at), text)
		data := s.read(len(text))
		if !killed {
			if err := l.put(data, at); err != nil {
				t.Fatal(err)
			}
			s.done(len(text))
		}
	}
	write("first ", false)
	write("second", true)
	fd, err := syscall.Dup(s.FD())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	next, err := OpenSpill(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	for range 2 { // the second time there is nothing
		if err := next.Recover(dirs); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(dirs.Console("web1")); string(got) != "first second" {
			t.Errorf("log %q, %v", got, err)
		}
	}
}

func TestLog(t *testing.T) {
	dirs := world(t)
	l := newLog(dirs, "web1", 4096)
	defer l.close()
	add := func(text string) {
		t.Helper()
		at, err := l.end()
		if err == nil {
			err = l.put([]byte(text), at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	holds := func(path, want string) {
		t.Helper()
		if got, err := os.ReadFile(path); string(got) != want {
			t.Errorf("%s: %.40q, %v; want %.40q", path, got, err, want)
		}
	}
	path := dirs.Console("web1")
	old := logtail.Rotated(path)
	full := strings.Repeat("x", 4096)
	add(full)
	add("next")
	holds(path, "next")
	holds(old, full)
	if err := os.Truncate(path, 0); err != nil { // by an administrator
		t.Fatal(err)
	}
	add("after")
	holds(path, "after")
	if err := os.RemoveAll(dirs.State("web1")); err != nil {
		t.Fatal(err)
	}
	add("anew")
	holds(path, "anew")
	l.close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", path); err != nil {
		t.Fatal(err)
	}
	if _, err := l.end(); err == nil {
		t.Error("followed a link")
	}
	if p := newLog(dirs, "web1", 1).piece(); p < 1 || p > 4096 {
		t.Errorf("a tiny log is read for %d bytes at once", p)
	}
	if p := newLog(dirs, "web1", guest.Bytes(1<<40)).piece(); p != spillSize {
		t.Errorf("a huge log is read for %d bytes at once", p)
	}
}

// A guest may be deleted before we hear of its end: its last words go with it, and nothing
// of it comes back.
func TestDeleted(t *testing.T) {
	for name, deleted := range map[string]func(l *consoleLog, d guest.Dirs) error{
		"nothing was logged": func(*consoleLog, guest.Dirs) error { return nil },
		"the log is open": func(l *consoleLog, d guest.Dirs) error {
			_, err := l.end()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dirs := world(t)
			l, err := loop.New()
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			set := &Set{Dirs: dirs, Loop: l, Say: t.Errorf}
			if set.Spill, err = NewSpill(t.TempDir()); err != nil {
				t.Fatal(err)
			}
			defer set.Spill.Close()
			c := set.Get("web1")
			defer set.Close(c)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			w.WriteString("last words")
			w.Close()
			if c.fd, err = syscall.Dup(int(r.Fd())); err != nil {
				t.Fatal(err)
			}
			err = errors.Join(deleted(c.log, dirs), os.RemoveAll(dirs.State("web1")), os.Remove(dirs.Spec("web1")))
			if err != nil {
				t.Fatal(err)
			}
			c.Shut()
			if _, err := os.Stat(dirs.State("web1")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("its state is there again: %v", err)
			}
			if _, err := os.Stat(dirs.Lock("web1")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("its lock is there again: %v", err)
			}
		})
	}
}
