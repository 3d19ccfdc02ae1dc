package fuse

import (
	"bytes"
	"syscall"
	"testing"
)

// request makes a request as the kernel writes it.
func request(op Op, node uint64, body []byte) []byte {
	b := enc.AppendUint32(nil, uint32(headerSize+len(body)))
	b = enc.AppendUint32(b, uint32(op))
	b = enc.AppendUint64(b, 7)
	b = enc.AppendUint64(b, node)
	b = append(b, make([]byte, 16)...)
	return append(b, body...)
}

func TestParse(t *testing.T) {
	r, ok := Parse(append(request(Lookup, 1, []byte("stat\x00")), "of another"...))
	if !ok || r.Op != Lookup || r.Unique != 7 || r.Node != 1 || r.Name() != "stat" {
		t.Errorf("%+v, %v", r, ok)
	}
	for _, bad := range [][]byte{nil, make([]byte, headerSize), request(Read, 1, make([]byte, 20))[:50]} {
		if r, ok := Parse(bad); ok {
			t.Errorf("%d bytes: %+v", len(bad), r)
		}
	}
	if _, _, ok := (Request{Body: make([]byte, 19)}).Span(); ok {
		t.Error("a short Read was taken")
	}
}

// The structures have the sizes that the kernel checks.
func TestSizes(t *testing.T) {
	a := Attr{Node: 2, Mode: syscall.S_IFREG | 0o444}
	init, e := InitAnswer(Request{Body: append(enc.AppendUint32(enc.AppendUint32(nil, 7), 31), make([]byte, 8)...)})
	for name, c := range map[string]struct{ got, want int }{
		"entry": {len(a.Entry()), 128}, "attr": {len(a.Attributes()), 104},
		"statfs": {len(Stats()), 80}, "init": {len(init), 64},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, c.got, c.want)
		}
	}
	if e != 0 || enc.Uint32(init[4:]) != 31 {
		t.Errorf("init: %v, minor %d", e, enc.Uint32(init[4:]))
	}
	if _, e := InitAnswer(Request{Body: make([]byte, 64)}); e != syscall.EPROTO {
		t.Errorf("another protocol: %v", e)
	}
}

// A directory comes in as many pieces as the kernel's buffer makes necessary.
func TestDir(t *testing.T) {
	var list []Dirent
	for _, name := range []string{"a", "meminfo", "a-name-of-some-length"} {
		list = append(list, Dirent{name, Attr{Node: 5, Mode: syscall.S_IFDIR | 0o555}})
	}
	all := Dir(list, 0, 4096)
	var pieces []byte
	for off := uint64(0); off < 3; off++ {
		pieces = append(pieces, Dir(list, off, 48)...)
	}
	if !bytes.Equal(all, pieces) || len(all)%8 != 0 {
		t.Errorf("%d bytes at once, %d in pieces", len(all), len(pieces))
	}
	if got := Dir(list, 0, 20); len(got) != 0 {
		t.Errorf("no room: %d bytes", len(got))
	}
	if got := Dir(list, 9, 4096); len(got) != 0 {
		t.Errorf("behind the end: %d bytes", len(got))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(request(Read, 2, make([]byte, 40)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _ := Parse(b)
		r.Name()
		r.Span()
		InitAnswer(r)
	})
}
