package real_test

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vserver/internal/need"
)

// TestDatabase takes a snapshot and a clone of a guest, and writes it out as one file, while
// its PostgreSQL commits one row after the other. What comes of them recovers by itself, and
// has every row that was acknowledged before.
func TestDatabase(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	need.Mirror(t)
	w.keepImages()
	w.do(t, "create", "db", "-d", "bookworm", "--packages", serverPackages, "--network", "none", "--wait-ready", "--ready-timeout", "3m")
	db := &server{world: w, name: "db"}
	eventually(t, time.Minute, db.answers)
	db.query(t, "create table log (n int primary key)")

	rows := db.write(t)
	rows.pass(t, 100)
	before := rows.done.Load()
	w.do(t, "db", "snapshot", "create", "busy")
	rows.pass(t, 100)
	later := rows.done.Load()
	w.do(t, "clone", "db", "now")
	rows.pass(t, 100)
	w.do(t, "clone", "db", "then", "--snapshot", "busy")
	last := rows.done.Load()
	parcel := filepath.Join(t.TempDir(), "db.vserver")
	w.do(t, "db", "export", "-o", parcel)
	rows.pass(t, 100)
	w.do(t, "import", "sent", parcel, "--new-identity")

	for name, least := range map[string]int64{"then": before, "now": later, "sent": last} {
		w.do(t, "start", name, "--wait-ready", "--ready-timeout", "3m")
		copied := &server{world: w, name: name}
		eventually(t, time.Minute, copied.answers)
		var count, newest int64
		if _, err := fmt.Sscanf(copied.query(t, "select count(*), max(n) from log"), "%d|%d", &count, &newest); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d rows, of which %d had been acknowledged", name, count, least)
		if count != newest || count < least {
			t.Errorf("%s: %d rows, the last is %d; %d had been acknowledged", name, count, newest, least)
		}
	}
}

// psql is a guest's PostgreSQL, asked by its owner.
var psql = []string{"su", "postgres", "-c", "psql -XAtq -v ON_ERROR_STOP=1"}

// answers is a look whether PostgreSQL does.
func (s *server) answers() error {
	r := s.feed("select 'here'", append([]string{"exec", s.name}, psql...)...)
	if strings.TrimSpace(r.out) != "here" {
		return fmt.Errorf("%s: %q %s", s.name, r.out, r.err)
	}
	return nil
}

// query asks PostgreSQL.
func (s *server) query(t *testing.T, line string) string {
	t.Helper()
	r := s.feed(line, append([]string{"exec", s.name}, psql...)...)
	if r.code != 0 {
		t.Fatalf("%s: %s: exit code %d: %s", s.name, line, r.code, r.err)
	}
	return strings.TrimSpace(r.out)
}

// writer commits the rows 1, 2, 3, … until the test ends; done is the last that was
// acknowledged.
type writer struct{ done atomic.Int64 }

func (s *server) write(t *testing.T) *writer {
	t.Helper()
	rows := &writer{}
	c := s.command(t.Context(), append([]string{"exec", s.name}, psql...)...)
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := s.begin(c); err != nil {
		t.Fatal(err)
	}
	go func() {
		for n, err := 1, error(nil); err == nil; n++ {
			_, err = fmt.Fprintf(in, "insert into log values (%d) returning n;\n", n)
		}
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if n, err := strconv.ParseInt(lines.Text(), 10, 64); err == nil {
				rows.done.Store(n)
			}
		}
		io.Copy(io.Discard, out)
	}()
	t.Cleanup(func() {
		in.Close()
		c.Process.Kill()
		<-ended
		c.Wait()
	})
	return rows
}

// pass waits until so many rows more are acknowledged.
func (r *writer) pass(t *testing.T, more int64) {
	t.Helper()
	from := r.done.Load()
	eventually(t, time.Minute, func() error {
		if n := r.done.Load(); n < from+more {
			return fmt.Errorf("%d rows after %d", n, from)
		}
		return nil
	})
}

// TestHashifyBesideApt installs packages in a running guest while its like are hashified
// over and over. In the end it is hashified as well, and all files of all packages are
// what they were made as.
func TestHashifyBesideApt(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	need.Mirror(t)
	w.keepImages()
	w.ownNet()
	proxy := w.proxy()
	for i, n := range []string{"busy", "one", "two"} {
		w.do(t, "create", n, "-d", "bookworm", "--packages", serverPackages, "--network", "private", "--ip", address(byte(31+i))+"/24", "--wait-ready", "--ready-timeout", "3m")
		w.sh(t, n, aptSetup(proxy)+"apt-get -qq update\n"+aptInstall("git"))
	}
	w.do(t, "stop", "one", "two")

	installed := make(chan result)
	go func() {
		installed <- w.feed(aptInstall("--reinstall git perl perl-base coreutils libc-bin vim-tiny"), "exec", "busy", "sh", "-s")
	}()
	rounds := 0
	for done := false; !done; rounds++ {
		select {
		case r := <-installed:
			if done = true; r.code != 0 {
				t.Errorf("apt-get: exit code %d: %s", r.code, r.err)
			}
		default:
			w.do(t, "hashify", "--all")
			w.do(t, "unhashify", "one")
		}
	}
	t.Logf("hashified %d times", rounds)
	w.do(t, "stop", "busy")
	w.do(t, "hashify", "--all")
	w.do(t, "pool", "verify")
	for _, n := range []string{"busy", "one", "two"} {
		w.do(t, "start", n, "--wait-ready", "--ready-timeout", "3m")
		if changed := w.sh(t, n, "dpkg --verify"); changed != "" {
			t.Errorf("%s: %s", n, changed)
		}
	}
}
