package unify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/layer"
)

// killVar tells a child of TestKilled where its trees are.
const killVar = "VSERVER_TEST_UNIFY"

func TestMain(m *testing.M) {
	if os.Getenv(killVar) != "" {
		os.Exit(m.Run())
	}
	need.Main(m)
}

// world is a pool with some trees, all below one directory.
type world struct {
	*testing.T
	dir  string
	root *file.Dir
}

func newWorld(t *testing.T) world {
	t.Helper()
	dir := t.TempDir()
	root, err := file.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return world{t, dir, root}
}

func (w world) open() *Store {
	w.Helper()
	s := w.fresh()
	w.Cleanup(func() { s.Close() })
	return s
}

// fresh opens the store; the test closes it.
func (w world) fresh() *Store {
	w.Helper()
	s, err := Open(filepath.Join(w.dir, "pool"))
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// when is the time of change of all files, unless a test wants another.
var when = time.Unix(1700000000, 123456789)

func (w world) put(path, text string) string {
	w.Helper()
	p := filepath.Join(w.dir, path)
	err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644), os.Chtimes(p, when, when))
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w world) unify(s *Store, tree string) Report {
	w.Helper()
	r, err := s.Tree(w.Context(), w.root, tree, false, nil)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w world) stat(path string) file.Stat {
	w.Helper()
	d, err := file.OpenDir(filepath.Dir(filepath.Join(w.dir, path)))
	if err != nil {
		w.Fatal(err)
	}
	defer d.Close()
	st, err := d.Stat(filepath.Base(path))
	if err != nil {
		w.Fatal(err)
	}
	return st
}

func (w world) one(a, b string) bool { return w.stat(a).Ino == w.stat(b).Ino }

func (w world) digest(tree string) string {
	w.Helper()
	d, err := file.OpenDir(filepath.Join(w.dir, tree))
	if err != nil {
		w.Fatal(err)
	}
	defer d.Close()
	sum, err := layer.Digest(w.Context(), d, nil)
	if err != nil {
		w.Fatal(err)
	}
	return sum.Digest
}

const text = "content that is long enough\n"

func TestTrees(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	for _, tree := range []string{"a", "b"} {
		w.put(tree+"/usr/one", text)
		w.put(tree+"/usr/same", text) // equal, in the same tree
		w.put(tree+"/small", "x")
		w.put(tree+"/own", "of the tree called "+tree+" alone")
		w.put(tree+"/linked", "hard links stay ones")
		if err := errors.Join(os.Link(filepath.Join(w.dir, tree, "linked"), filepath.Join(w.dir, tree, "linked2")),
			os.Symlink("/etc", filepath.Join(w.dir, tree, "link")), syscall.Mkfifo(filepath.Join(w.dir, tree, "fifo"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range []string{"a", "b"} {
		mode := w.put(p+"/mode", text+"mode")
		owner := w.put(p+"/owner", text+"owner")
		mtime := w.put(p+"/mtime", text+"mtime")
		xattr := w.put(p+"/xattr", text+"xattr")
		if err := errors.Join(os.Chmod(mode, 0o600+os.FileMode(i)*4), os.Chown(owner, i, 0),
			os.Chtimes(mtime, when, when.Add(time.Duration(i))), syscall.Setxattr(xattr, "trusted.x", []byte{byte(i)}, 0)); err != nil {
			t.Fatal(err)
		}
	}
	before, dir := w.digest("b"), w.stat("b/usr")
	s := w.open()
	dry, err := s.Tree(t.Context(), w.root, "a", true, nil)
	if err != nil || dry.New != 8 || w.stat("a/usr/one").Links != 1 {
		t.Errorf("dry: %+v, %v", dry, err)
	}
	if r := w.unify(s, "a"); r.New != 8 || r.Joined != 0 || r.Linked != 0 || r.Small != 1 {
		t.Errorf("first: %+v", r)
	}
	if r := w.unify(s, "b"); r.New != 5 || r.Joined != 3 || r.Saved != 2*int64(len(text))+20 {
		t.Errorf("second: %+v", r)
	}
	if r := w.unify(s, "b"); r.Same != 9 || r.Read != 0 {
		t.Errorf("again: %+v", r)
	}
	if w.digest("b") != before || w.stat("b/usr").Mtime != dir.Mtime {
		t.Error("the tree is another")
	}
	if w.one("a/usr/one", "a/usr/same") || w.one("b/usr/one", "b/usr/same") {
		t.Error("two files of a tree became one")
	}
	if w.stat("a/usr/one").Links != 3 || w.stat("a/usr/same").Links != 3 {
		t.Error("not shared")
	}
	for _, name := range []string{"mode", "owner", "mtime", "xattr", "own", "small"} {
		if w.one("a/"+name, "b/"+name) {
			t.Errorf("%s: became one", name)
		}
	}
	if v, err := s.Verify(t.Context(), false, nil); err != nil || v.Objects != 13 || len(v.Found) > 0 {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

// A capability and an access list belong to what a file is; holes do not.
func TestAttributes(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	capability := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	acl := []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255}
	for _, tree := range []string{"a", "b"} {
		if err := errors.Join(syscall.Setxattr(w.put(tree+"/capable", text), "security.capability", capability, 0),
			syscall.Setxattr(w.put(tree+"/listed", text), "system.posix_acl_access", acl, 0)); err != nil {
			t.Fatal(err)
		}
		w.put(tree+"/plain", text)
	}
	full := w.put("a/sparse", string(make([]byte, 1<<20)))
	holes := w.put("b/sparse", "")
	if err := errors.Join(os.Truncate(holes, 1<<20), os.Chtimes(holes, when, when), os.Chtimes(full, when, when)); err != nil {
		t.Fatal(err)
	}
	s := w.open()
	w.unify(s, "a")
	if r := w.unify(s, "b"); r.Joined != 4 {
		t.Errorf("%+v", r)
	}
	got := make([]byte, 64)
	if n, err := syscall.Getxattr(filepath.Join(w.dir, "b/capable"), "security.capability", got); err != nil || !bytes.Equal(got[:n], capability) {
		t.Errorf("capability: %v, %v", got[:n], err)
	}
	if n, err := syscall.Getxattr(filepath.Join(w.dir, "b/listed"), "system.posix_acl_access", got); err != nil || !bytes.Equal(got[:n], acl) {
		t.Errorf("acl: %v, %v", got[:n], err)
	}
}

// What has all the links it may have is followed by another object.
func TestLinksEnd(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	s := w.open()
	s.max = 3
	for i := range 5 {
		w.put(fmt.Sprintf("t%d/f", i), text)
		w.unify(s, fmt.Sprintf("t%d", i))
	}
	if !w.one("t0/f", "t1/f") || w.one("t1/f", "t2/f") || !w.one("t2/f", "t3/f") || w.one("t3/f", "t4/f") {
		t.Error("links are not as bounded")
	}
}

// A tree is never left, whatever its links become while it is gone through, and what is
// written to meanwhile loses nothing.
func TestHostile(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.put("outside/f", text)
	w.put("ref/f", text)
	for i := range 50 {
		w.put(fmt.Sprintf("tree/d%d/f", i), text)
	}
	s := w.open()
	w.unify(s, "ref")
	ctx, stop := context.WithCancel(t.Context())
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			at := filepath.Join(w.dir, fmt.Sprintf("tree/d%d", i%50))
			_ = errors.Join(os.Rename(at, at+".was"), os.Symlink(filepath.Join(w.dir, "outside"), at), os.Remove(at), os.Rename(at+".was", at))
		}
	})
	for range 20 {
		// What vanishes is an error or a retry, as it happens; an escape is none.
		_, _ = s.Tree(t.Context(), w.root, "tree", false, nil)
	}
	stop()
	swapper.Wait()
	if st := w.stat("outside/f"); st.Links != 1 {
		t.Errorf("outside has %d links", st.Links)
	}
	for i := range 50 {
		if got, err := os.ReadFile(filepath.Join(w.dir, fmt.Sprintf("tree/d%d/f", i))); err != nil || string(got) != text {
			t.Errorf("d%d: %q, %v", i, got, err)
		}
	}
}

// Two at once, and garbage is not collected beside them.
func TestTwo(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	for i := range 200 {
		w.put(fmt.Sprintf("a/f%d", i), fmt.Sprint(text, i))
		w.put(fmt.Sprintf("b/f%d", i), fmt.Sprint(text, i))
	}
	var both sync.WaitGroup
	for _, tree := range []string{"a", "b"} {
		s := w.open()
		both.Go(func() {
			if _, err := s.Tree(t.Context(), w.root, tree, false, nil); err != nil {
				t.Error(err)
			}
			if _, err := w.open().Collect(t.Context(), false); !errors.Is(err, guest.ErrBusy) {
				t.Errorf("collected meanwhile: %v", err)
			}
		})
	}
	both.Wait()
	for i := range 200 {
		if !w.one(fmt.Sprintf("a/f%d", i), fmt.Sprintf("b/f%d", i)) {
			t.Errorf("f%d is two", i)
		}
	}
}

// Whenever it is killed the trees are what they were, and the next one ends it.
func TestKilled(t *testing.T) {
	need.Root(t)
	if dir := os.Getenv(killVar); dir != "" {
		root, err := file.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		w := world{t, dir, root}
		w.unify(w.open(), "a")
		w.unify(w.open(), "b")
		return
	}
	w := newWorld(t)
	for i := range 300 {
		w.put(fmt.Sprintf("a/d%d/f%d", i%7, i), fmt.Sprint(text, i))
		w.put(fmt.Sprintf("b/d%d/f%d", i%7, i), fmt.Sprint(text, i))
	}
	before := w.digest("a") + w.digest("b")
	for i := range 12 {
		c := exec.Command("/proc/self/exe", "-test.run=^TestKilled$")
		c.Env = append(os.Environ(), killVar+"="+w.dir)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(4+3*i) * time.Millisecond)
		_ = c.Process.Kill()
		_ = c.Wait()
		if w.digest("a")+w.digest("b") != before {
			t.Fatal("a tree is another")
		}
	}
	s := w.fresh()
	w.unify(s, "a")
	w.unify(s, "b")
	if v, err := s.Verify(t.Context(), true, nil); err != nil || len(v.Found) > 0 || v.Objects != 300 || w.digest("a")+w.digest("b") != before {
		t.Errorf("verify: %+v, %v", v, err)
	}
	s.Close()
	if c, err := w.open().Collect(t.Context(), false); err != nil || c.Objects != 0 {
		t.Errorf("collect: %+v, %v", c, err)
	}
	if left, err := os.ReadDir(filepath.Join(w.dir, "pool/objects/.new")); err != nil || len(left) > 0 {
		t.Errorf("left on the way: %v, %v", left, err)
	}
}
