package beneath

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/kernel/mount"
	"vserver/kernel/ns"
	"vserver/layer"
)

// killVar tells a child of TestKilled where its world is.
const killVar = "VSERVER_TEST_BENEATH"

func TestMain(m *testing.M) {
	if os.Getenv(killVar) != "" {
		os.Exit(m.Run())
	}
	need.Main(m)
}

// base is the first id of the guest of these tests.
const base = 300 << 16

// world is a guest's directory with an image and a layer beneath its own files.
type world struct {
	testing.TB
	dir    string
	at     string // where its own files are
	userns *os.File
}

// places are where that can be: in the guest's directory, or as the root of an image is.
var places = []string{"own", "apart"}

func newWorld(t testing.TB, at string) *world {
	t.Helper()
	need.Root(t)
	need.Overlay(t)
	need.Namespaces(t, unix.CLONE_NEWUSER)
	w := &world{TB: t, dir: need.TempDir(t), at: at}
	for _, d := range []string{"image", "down", "own", at + "/upper", at + "/work", "root"} {
		w.check(os.MkdirAll(w.path(d), 0o755))
	}
	w.check(os.Chown(w.path(at+"/upper"), base, base))
	c := exec.Command("sleep", "100")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: guest.IDs}}
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	w.check(c.Start())
	f, err := ns.Open(c.Process.Pid, "user")
	c.Process.Kill()
	c.Wait()
	w.check(err)
	w.userns = f
	t.Cleanup(func() { f.Close() })
	return w
}

func (w *world) check(errs ...error) {
	w.Helper()
	if err := errors.Join(errs...); err != nil {
		w.Fatal(err)
	}
}

func (w *world) path(p string) string { return filepath.Join(w.dir, p) }

// mounted runs do with the guest's root as the guest sees it.
func (w *world) mounted(do func(root string)) {
	w.Helper()
	var lower []int
	for _, d := range []string{"down", "image"} {
		fd, err := mount.Clone(w.path(d))
		w.check(err, mount.SetAttr(fd, mount.ReadOnly, int(w.userns.Fd())))
		defer unix.Close(fd)
		lower = append(lower, fd)
	}
	up, err := os.Open(w.path(w.at + "/upper"))
	w.check(err)
	defer up.Close()
	work, err := os.Open(w.path(w.at + "/work"))
	w.check(err)
	defer work.Close()
	fd, err := mount.Overlay(lower, up, work)
	w.check(err, mount.Attach(fd, w.path("root")), unix.Close(fd))
	defer func() { w.check(unix.Unmount(w.path("root"), 0)) }()
	do(w.path("root"))
}

// digest is all that the guest sees but times: who is killed may have changed those of
// directories.
func (w *world) digest() (out string) {
	w.Helper()
	out, _, _ = strings.Cut(w.seen(), " ")
	return out
}

// seen is all that the guest sees.
func (w *world) seen() (out string) {
	w.Helper()
	w.mounted(func(root string) {
		d, err := file.OpenDir(root)
		w.check(err)
		defer d.Close()
		s, err := layer.Digest(w.Context(), d, nil)
		w.check(err)
		out = s.Digest
		w.check(filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			out += fmt.Sprintf(" %s %v %d;", strings.TrimPrefix(p, root), info.ModTime().UnixNano(), info.Size())
			return err
		}))
	})
	return out
}

func (w *world) layer() *Layer {
	w.Helper()
	l, err := Open(w.path("own"), w.path(w.at), base, w.path("down"))
	w.check(err)
	return l
}

func all(string) bool { return true }

func (w *world) move(wanted func(string) bool) Moved {
	w.Helper()
	l := w.layer()
	m, err := l.Move(w.Context(), wanted, nil)
	w.check(err, l.Close())
	return m
}

func (w *world) lift() Lifted {
	w.Helper()
	l := w.layer()
	u, err := l.Lift(w.Context(), nil)
	w.check(err, l.Close())
	return u
}

const text = "long enough to be unified\n"

// put writes a file of the guest's.
func (w *world) put(root, p, text string, mode os.FileMode) {
	w.Helper()
	at := filepath.Join(root, p)
	w.check(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o600), os.Lchown(at, base+1, base+2), os.Chmod(at, mode))
}

// What a guest did to an image of all kinds of files.
func (w *world) fill() {
	for _, f := range []string{"kept", "gone", "changed", "dir/gone", "dir/kept", "tree/a/b", "new/over", "file"} {
		at := w.path("image/" + f)
		w.check(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte("image's "+text), 0o644))
	}
	w.mounted(func(root string) {
		in := func(p string) string { return filepath.Join(root, p) }
		w.put(root, "plain", text, 0o644)
		w.put(root, "small", "x", 0o644)
		w.put(root, "tool", text, 0o755|os.ModeSetuid)
		w.put(root, "deep/er/file", text, 0o640)
		w.put(root, "kept.conf", text, 0o644)
		w.put(root, "linked", text, 0o644)
		w.put(root, "attr", text, 0o644)
		w.check(
			unix.Setxattr(in("attr"), "user.note", []byte("n"), 0),
			os.Link(in("linked"), in("linked2")), os.Symlink("plain", in("link")), unix.Mkfifo(in("pipe"), 0o644),
			os.Remove(in("gone")), os.Remove(in("dir/gone")), os.WriteFile(in("changed"), []byte("guest's "+text), 0o644),
			// A directory over a removed one is opaque, one over a removed file too.
			os.RemoveAll(in("tree")), os.Remove(in("file")))
		w.put(root, "tree/a/c", text, 0o644)
		w.put(root, "file/inside", text, 0o644)
		if err := exec.Command("setfacl", "-m", fmt.Sprintf("u:%d:r", base+7), in("attr")).Run(); err != nil {
			w.Log("no access list:", err)
		}
		f, err := os.Create(in("sparse"))
		w.check(err, f.Truncate(8<<20))
		_, err = f.WriteAt([]byte(text), 4<<20)
		w.check(err, f.Close(), os.Chown(in("sparse"), base, base))
	})
}

// A guest sees the same before and after its files move, and after they are back.
func TestMove(t *testing.T) {
	for _, at := range places {
		t.Run(at, func(t *testing.T) { testMove(t, newWorld(t, at)) })
	}
}

func testMove(t *testing.T, w *world) {
	w.fill()
	before := w.seen()
	m := w.move(func(p string) bool { return p != "/kept.conf" })
	if m.Files != 7 || m.Left != 5 || m.Bytes > 1<<20 {
		t.Errorf("%+v", m)
	}
	if now := w.seen(); now != before {
		t.Errorf("moved:\n%s\nwas\n%s", now, before)
	}
	for _, f := range []string{"plain", "tool", "changed", "tree/a/c", "file/inside", "attr", "deep/er/file"} {
		if _, err := os.Lstat(w.path(w.at + "/upper/" + f)); err == nil {
			t.Errorf("%s is still the guest's", f)
		}
		info, err := os.Lstat(w.path("down/" + f))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid >= guest.IDs {
			t.Errorf("%s: %+v, %v", f, info, err)
		}
	}
	if info, err := os.Stat(w.path(w.at + "/upper/sparse")); err != nil || info.Sys().(*syscall.Stat_t).Blocks > 100 {
		t.Errorf("the hole: %+v, %v", info, err)
	}
	if again := w.move(func(p string) bool { return p != "/kept.conf" }); again.Files != 0 || again.Left != 5 {
		t.Errorf("again: %+v", again)
	}
	// The guest changes, removes and makes anew what is beneath.
	w.mounted(func(root string) {
		w.check(os.WriteFile(filepath.Join(root, "plain"), []byte("new "+text), 0o644), os.Remove(filepath.Join(root, "changed")),
			os.RemoveAll(filepath.Join(root, "tree")), os.RemoveAll(filepath.Join(root, "deep")), os.RemoveAll(filepath.Join(root, "file")))
		w.put(root, "tree/only", text, 0o644)
		w.put(root, "deep", text, 0o644)
	})
	before = w.seen()
	w.move(all)
	if now := w.seen(); now != before {
		t.Errorf("moved again:\n%s\nwas\n%s", now, before)
	}
	for _, f := range []string{"changed", "tree/a", "file"} {
		if _, err := os.Lstat(w.path("down/" + f)); err == nil {
			t.Errorf("%s is hidden, and there", f)
		}
	}
	u := w.lift()
	if u.Files == 0 {
		t.Errorf("%+v", u)
	}
	w.check(os.RemoveAll(w.path("down")), os.Mkdir(w.path("down"), 0o755))
	if now := w.seen(); now != before {
		t.Errorf("lifted:\n%s\nwas\n%s", now, before)
	}
}

// Whatever a guest does between moves, it sees no difference.
func TestRandom(t *testing.T) {
	for _, at := range places {
		t.Run(at, func(t *testing.T) { testRandom(t, newWorld(t, at)) })
	}
}

func testRandom(t *testing.T, w *world) {
	w.fill()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	rounds := 15
	if need.InVM() {
		rounds = 5
	}
	for round := range rounds {
		w.mounted(func(root string) { churn(r, root, 60) })
		before := w.seen()
		if round%5 == 4 {
			w.lift()
			w.check(os.RemoveAll(w.path("down")), os.Mkdir(w.path("down"), 0o755))
		} else {
			w.move(func(string) bool { return r.IntN(4) > 0 })
		}
		if now := w.seen(); now != before {
			t.Fatalf("seed %d, round %d:\n%s\nwas\n%s", seed, round, now, before)
		}
	}
}

// churn does n things in a tree at random.
func churn(r *rand.Rand, root string, n int) {
	names := []string{"a", "b", "c", "tree", "dir", "file", "new"}
	at := func() string {
		p := root
		for range 1 + r.IntN(3) {
			p = filepath.Join(p, names[r.IntN(len(names))])
		}
		return p
	}
	for range n {
		p := at()
		switch r.IntN(7) {
		case 0, 1, 2:
			os.WriteFile(p, []byte(fmt.Sprint(text, r.IntN(9))), 0o644)
			os.Lchown(p, base, base)
		case 3:
			os.Mkdir(p, 0o755)
		case 4:
			os.RemoveAll(p)
		case 5:
			os.Rename(p, at())
		case 6:
			os.Symlink("a", p)
		}
	}
}

// A guest whose root somebody outside has is left alone.
func TestInUse(t *testing.T) {
	for _, at := range places {
		t.Run(at, func(t *testing.T) { testInUse(t, newWorld(t, at)) })
	}
}

func testInUse(t *testing.T, w *world) {
	w.fill()
	w.mounted(func(root string) {
		if l, err := Open(w.path("own"), w.path(w.at), base, w.path("down")); !errors.Is(err, guest.ErrBusy) {
			t.Errorf("mounted: %v, %v", l, err)
		}
	})
	w.check(w.layer().Close())
}

// TestChild is no test: it moves and lifts until it is killed, for TestKilled.
func TestChild(t *testing.T) {
	dir, at := os.Getenv(killVar), os.Getenv(killVar+"_AT")
	if dir == "" {
		return
	}
	open := func() (*Layer, error) {
		return Open(filepath.Join(dir, "own"), filepath.Join(dir, at), base, filepath.Join(dir, "down"))
	}
	for {
		l, err := open()
		if err == nil {
			_, err = l.Move(t.Context(), all, nil)
			err = errors.Join(err, l.Close())
		}
		if err == nil {
			l, err = open()
		}
		if err == nil {
			_, err = l.Lift(t.Context(), nil)
			err = errors.Join(err, l.Close())
		}
		if err != nil {
			os.WriteFile(filepath.Join(dir, "error"), []byte(err.Error()), 0o644)
			os.Exit(1)
		}
	}
}

// Whoever is killed, and when, the guest sees the same once Recover was called.
func TestKilled(t *testing.T) {
	for _, at := range places {
		t.Run(at, func(t *testing.T) { testKilled(t, newWorld(t, at)) })
	}
}

func testKilled(t *testing.T, w *world) {
	w.fill()
	w.mounted(func(root string) {
		for i := range 100 {
			w.put(root, fmt.Sprintf("many/%d/file", i), text, 0o644)
		}
	})
	before := w.digest()
	for round := range 12 {
		c := exec.Command(os.Args[0], "-test.run=^TestChild$")
		c.Env = append(os.Environ(), killVar+"="+w.dir, killVar+"_AT="+w.at)
		w.check(c.Start())
		wait := 30_000 + rand.IntN(60_000) // µs: it begins, and gets somewhere
		unix.Nanosleep(&unix.Timespec{Nsec: int64(wait) * 1000}, nil)
		w.check(c.Process.Kill())
		c.Wait()
		if text, err := os.ReadFile(w.path("error")); err == nil {
			t.Fatal(string(text))
		}
		w.check(Recover(w.path("own"), base, w.path("down")))
		if now := w.digest(); now != before {
			t.Fatalf("round %d:\n%s\nwas\n%s", round, now, before)
		}
	}
}
