package view

import (
	"encoding/binary"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/kernel/fuse"
)

// said is a tree whose files say what text does.
func said(text *string) *Tree {
	return &Tree{UID: 7, CPUs: func() Set { return Set{0} },
		Text: func(Node) ([]byte, syscall.Errno) { return []byte(*text), 0 }}
}

// attributes asks for those of a file: its size, the time of its last change, and how long
// the kernel may believe it.
func attributes(t *testing.T, tree *Tree, n Node) (size, changed uint64, nanos uint32) {
	t.Helper()
	b, e := tree.Answer(fuse.Request{Op: fuse.GetAttr, Node: uint64(n)})
	if e != 0 {
		t.Fatal(e)
	}
	enc := binary.NativeEndian // struct fuse_attr_out, behind it struct fuse_attr
	return enc.Uint64(b[16+8:]), enc.Uint64(b[16+32:])*1e9 + uint64(enc.Uint32(b[16+52:])), enc.Uint32(b[8:])
}

// piece reads from a file.
func piece(t *testing.T, tree *Tree, n Node, offset uint64, size uint32) string {
	t.Helper()
	body := make([]byte, 40) // struct fuse_read_in
	binary.NativeEndian.PutUint64(body[8:], offset)
	binary.NativeEndian.PutUint32(body[16:], size)
	b, e := tree.Answer(fuse.Request{Op: fuse.Read, Node: uint64(n), Body: body})
	if e != 0 {
		t.Fatal(e)
	}
	return string(b)
}

// What is read is what the size was told of, whatever the file says by then; the time of
// the change is another when the text is, and only then.
func TestMoment(t *testing.T) {
	text := "one two\n"
	tree := said(&text)
	size, first, nanos := attributes(t, tree, nodeUptime)
	if size != 8 || first == 0 || nanos != uint32(known) {
		t.Errorf("size %d, changed %d, known for %d ns", size, first, nanos)
	}
	text = "three four five\n"
	if got := piece(t, tree, nodeUptime, 0, 4096) + piece(t, tree, nodeUptime, 8, 4096); got != "one two\n" {
		t.Errorf("read %q", got)
	}
	size, second, _ := attributes(t, tree, nodeUptime)
	if _, third, _ := attributes(t, tree, nodeUptime); size != 16 || second <= first || third != second {
		t.Errorf("size %d, changed %d, %d, %d", size, first, second, third)
	}
	if got := piece(t, tree, nodeUptime, 6, 4) + piece(t, tree, nodeUptime, 10, 4); got != "four fiv" {
		t.Errorf("pieces %q", got)
	}
	// A server that came after the one that told the size.
	if got := piece(t, said(&text), nodeUptime, 0, 4096); got != text {
		t.Errorf("another server: %q", got)
	}
}

// told keeps what one tree was told.
type told struct {
	text  []byte
	since int64
}

func (k *told) Tell(_ Node, text []byte, since int64) { *k = told{text, since} }

func (k *told) Told(Node) ([]byte, int64) { return k.text, k.since }

// Who follows another tells what that one told, to those who know the size already: what
// it reads itself comes after that.
func TestFollow(t *testing.T) {
	text := "one two\n"
	kept := &told{}
	before := said(&text)
	before.Kept = kept
	_, first, _ := attributes(t, before, nodeUptime)
	text = "one\n"
	after := said(&text)
	after.Kept = kept
	if got := piece(t, after, nodeUptime, 0, 4096); got != "one two\n" {
		t.Errorf("read %q", got)
	}
	if size, same, _ := attributes(t, after, nodeUptime); size != 8 || same != first {
		t.Errorf("size %d, changed %d after %d", size, same, first)
	}
	m := after.moment[nodeUptime]
	m.until = time.Time{}
	after.moment[nodeUptime] = m
	if size, later, _ := attributes(t, after, nodeUptime); size != 4 || later <= first || string(kept.text) != text {
		t.Errorf("size %d, changed %d after %d, kept %q", size, later, first, kept.text)
	}
}

// Nobody opens or closes: the kernel is told so once. Names are found without a look at
// the files while nobody reads.
func TestNames(t *testing.T) {
	text := strings.Repeat("x", 100)
	tree := said(&text)
	for _, op := range []fuse.Op{fuse.Open, fuse.Flush} {
		if _, e := tree.Answer(fuse.Request{Op: op, Node: uint64(nodeStat)}); e != syscall.ENOSYS {
			t.Errorf("request %d: %v", op, e)
		}
	}
	lookup := func() uint64 {
		b, e := tree.Answer(fuse.Request{Op: fuse.Lookup, Node: fuse.Root, Body: []byte("stat\x00")})
		if e != 0 {
			t.Fatal(e)
		}
		return binary.NativeEndian.Uint64(b[40+8:]) // struct fuse_entry_out
	}
	if size := lookup(); size != 100 {
		t.Errorf("size %d by name", size)
	}
	tree.Names = true
	if size := lookup(); size != 0 {
		t.Errorf("size %d before anybody reads", size)
	}
	if _, e := tree.Answer(fuse.Request{Op: fuse.Lookup, Node: fuse.Root, Body: []byte("nothing\x00")}); e != syscall.ENOENT {
		t.Errorf("a name that is not there: %v", e)
	}
}
