package daemon

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
)

// reader collects what a client of a console sees.
type reader struct {
	*proto.Console
	mu   sync.Mutex
	seen bytes.Buffer
	end  chan error
}

func (w *world) attach(n guest.Name, lines int) *reader {
	w.t.Helper()
	c, err := proto.Attach(w.dirs, n, lines)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &reader{Console: c, end: make(chan error, 1)}
	go func() {
		buf := make([]byte, proto.MaxMessage)
		for {
			n, err := c.Read(buf)
			r.mu.Lock()
			r.seen.Write(buf[:n])
			r.mu.Unlock()
			if err != nil {
				r.end <- err
				return
			}
		}
	}()
	w.t.Cleanup(func() { c.Close() })
	return r
}

func (r *reader) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen.String()
}

func TestAttach(t *testing.T) {
	w := newWorld(t)
	if _, err := proto.Attach(w.dirs, "nobody", 0); !errors.Is(err, guest.ErrStopped) {
		t.Errorf("attach to nobody: %v", err)
	}
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleTTY},
		`echo early; printf 'the \033[31mlast\033[0m line\n'; while read x; do echo got $x; [ $x = size ] && stty size; [ $x = end ] && exit 0; done`)
	w.until(func() bool { return strings.Contains(w.log("one"), "line\n") })
	a, b := w.attach("one", 1), w.attach("one", 0)
	io.WriteString(a, "from a\n")
	for _, r := range []*reader{a, b} {
		w.until(func() bool { return strings.Contains(r.text(), "got from a\r\n") })
	}
	io.WriteString(b, "from b\n")
	for _, r := range []*reader{a, b} {
		w.until(func() bool { return strings.Contains(r.text(), "got from b\r\n") })
	}
	if !strings.HasPrefix(a.text(), "the last line\r\n") {
		t.Errorf("the first to see is %q", a.text())
	}
	if strings.Contains(b.text(), "line") {
		t.Errorf("saw lines from before: %q", b.text())
	}
	if err := a.Resize(33, 101); err != nil {
		t.Error(err)
	}
	io.WriteString(a, "size\n") // by the same way: it comes second
	w.until(func() bool { return strings.Contains(b.text(), "33 101\r\n") })

	a.Close() // the other stays
	io.WriteString(b, "alone\n")
	w.until(func() bool { return strings.Contains(b.text(), "got alone\r\n") })
	io.WriteString(b, "end\n")
	if err := <-b.end; err != io.EOF {
		t.Errorf("at the guest's end: %v", err)
	}
	if !strings.HasSuffix(b.text(), "[one exited with code 0]\r\n") {
		t.Errorf("the last to see is %q", b.text())
	}
}

func TestAttachToLog(t *testing.T) {
	w := newWorld(t)
	w.guest(proto.Start{Name: "log", Console: guest.ConsoleLog}, "while :; do echo x; usleep 10000; done")
	w.guest(proto.Start{Name: "none", Console: guest.ConsoleNone}, "sleep 1000")
	r := w.attach("log", 0)
	io.WriteString(r, "typed in vain\n")
	w.until(func() bool { return strings.Count(r.text(), "x") > 5 })
	if _, err := proto.Attach(w.dirs, "none", 0); !errors.Is(err, proto.ErrNoConsole) {
		t.Errorf("attach without console: %v", err)
	}
}

// A client that does not read misses output, and is told so; nobody else waits.
func TestSlowClient(t *testing.T) {
	w := newWorld(t)
	last := "100000"
	if need.InVM() { // still far more than a socket takes
		last = "50000"
	}
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleTTY}, "read x; busybox seq "+last+"; while read x; do echo got $x; done")
	slow, err := proto.Attach(w.dirs, "one", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	io.WriteString(slow, "go\n")
	w.until(func() bool { return strings.HasSuffix(w.log("one"), "\n"+last+"\n") })
	var seen bytes.Buffer
	buf := make([]byte, proto.MaxMessage)
	typed := false
	for !strings.HasSuffix(seen.String(), "got on\r\n") {
		n, err := slow.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		seen.Write(buf[:n])
		if !typed && strings.Contains(seen.String(), "bytes not shown]") {
			io.WriteString(slow, "on\n")
			typed = true
		}
	}
}

// More than the guest's terminal takes waits until the guest reads it.
func TestPaste(t *testing.T) {
	w := newWorld(t)
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleTTY}, "stty raw -echo; echo ready; sleep 0.5; head -c 300000 | md5sum; sleep 1000")
	r := w.attach("one", 1)
	w.until(func() bool { return strings.Contains(r.text(), "ready") })
	text := strings.Repeat("0123456789abcdefghijklmnopqrst", 10000)
	for piece := []byte(text); len(piece) > 0; {
		n := min(len(piece), proto.MaxMessage)
		if _, err := r.Write(piece[:n]); err != nil {
			t.Fatal(err)
		}
		piece = piece[n:]
	}
	w.until(func() bool { return strings.Contains(r.text(), fmt.Sprintf("%x", md5.Sum([]byte(text)))) })
}
