package pty

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestPair(t *testing.T) {
	p, err := Open(24, 80)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Master.Close()
	defer p.Slave.Close()
	a, err1 := p.Slave.Stat()
	b, err2 := os.Stat(p.Path)
	if err1 != nil || err2 != nil || !os.SameFile(a, b) {
		t.Errorf("%s is not the slave: %v, %v", p.Path, err1, err2)
	}
	p.Slave.WriteString("hello\n")
	buf := make([]byte, 64)
	if n, err := p.Master.Read(buf); string(buf[:n]) != "hello\r\n" {
		t.Errorf("master reads %q, %v", buf[:n], err)
	}
	p.Master.WriteString("typed\n")
	if n, err := p.Slave.Read(buf); string(buf[:n]) != "typed\n" {
		t.Errorf("slave reads %q, %v", buf[:n], err)
	}
	for _, f := range []*os.File{p.Master, p.Slave} {
		if r, c, err := Size(int(f.Fd())); r != 24 || c != 80 {
			t.Errorf("%s: size %d by %d, %v", f.Name(), r, c, err)
		}
	}
	if err := Resize(int(p.Master.Fd()), 50, 132); err != nil {
		t.Error(err)
	}
	if r, c, err := Size(int(p.Slave.Fd())); r != 50 || c != 132 {
		t.Errorf("resized to %d by %d, %v", r, c, err)
	}
}

// A master whose slave was closed by all reports EIO; a slave opened by Peer brings
// it back, which vserverd relies on after a restart.
func TestPeerRevives(t *testing.T) {
	p, err := Open(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Master.Close()
	p.Slave.WriteString("kept")
	p.Slave.Close()
	s, err := Peer(int(p.Master.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(s)
	syscall.Write(s, []byte(" and more"))
	var got []byte
	buf := make([]byte, 64)
	for len(got) < len("kept and more") {
		n, err := p.Master.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != "kept and more" {
		t.Errorf("got %q", got)
	}
}

func TestNotATerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := Peer(int(r.Fd())); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("Peer of a pipe: %v", err)
	}
	if err := Resize(int(r.Fd()), 1, 1); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("Resize of a pipe: %v", err)
	}
	if _, _, err := Size(int(r.Fd())); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("Size of a pipe: %v", err)
	}
}
