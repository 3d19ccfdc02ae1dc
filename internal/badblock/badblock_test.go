// Package badblock makes blocks of a disk bad below images, guests and what they are made
// of, and looks at what is done to these then: it fails and says with which file, nothing is
// left of it, and once the blocks are good it works.
package badblock

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/ncontext/shared"
)

func TestMain(m *testing.M) { need.Main(m) }

// world is a host upon a disk.
type world struct {
	*disk
	bin  string
	dirs guest.Dirs
}

// run runs the program and gives what it printed, and what it complained of.
func (w *world) run(args ...string) (out, errs string, err error) {
	c := exec.Command(w.bin, args...)
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.at+"/host")
	c.Dir = w.at
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	err = c.Run()
	return o.String(), e.String(), err
}

func (w *world) must(args ...string) {
	w.Helper()
	if out, errs, err := w.run(args...); err != nil {
		w.Fatalf("vserver %s: %v: %s%s", strings.Join(args, " "), err, out, errs)
	}
}

// there is all that operations make, by name.
func (w *world) there() string {
	w.Helper()
	var out []string
	for _, pattern := range []string{"guests/*", "guests/*/snapshots/*", "layers/*", "layers/.*", "pool/images/*", "pool/staging/*", "staging/*", "staging/.*"} {
		found, err := filepath.Glob(filepath.Join(w.dirs.Data, pattern))
		if err != nil {
			w.Fatal(err)
		}
		out = append(out, found...)
	}
	specs, err := filepath.Glob(filepath.Join(w.dirs.Config, "*"))
	if err != nil {
		w.Fatal(err)
	}
	return strings.ReplaceAll(strings.Join(append(out, specs...), "\n"), w.at, "")
}

// newWorld makes an image, a guest upon it with files of its own, and one in a plain
// directory.
func newWorld(t *testing.T) *world {
	need.VM(t)
	need.Long(t)
	w := &world{disk: newDisk(t, 192<<20), bin: need.Binary(t)}
	w.dirs = guest.DefaultDirs(w.at + "/host")
	t.Cleanup(w.end)
	tree := filepath.Join(w.at, "tree")
	need.Busybox(t, tree)
	script := `
		mkdir own data
		for i in $(seq 9); do head -c $((i * 20000)) /dev/urandom >data/$i; done
		sha256sum data/* >sums
		tar -cf ../tree.tar .
		cp data/7 ../file`
	c := exec.Command(need.Command(t, "busybox"), "sh", "-e", "-c", script)
	c.Dir = tree
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.must("image", "import", "base@1", "tree.tar")
	w.must(build("web", "base@1")...)
	w.must(build("plain", "base@1", "--root", "dir")...)
	w.must("web", "push", "file", "/own/mine")
	return w
}

func build(name, image string, more ...string) []string {
	return append([]string{"build", name, "--image", image, "--init", "command", "--command", "/bin/sleep", "--command", "inf", "--network", "none"}, more...)
}

func (w *world) end() {
	err := errors.Join(proto.Quit(w.dirs), shared.Detach(w.dirs))
	cg, cerr := cgroup.Find()
	if cerr == nil {
		cerr = cg.Remove(w.dirs.Cgroup)
	}
	if errors.Is(cerr, os.ErrNotExist) {
		cerr = nil
	}
	if err := errors.Join(err, cerr); err != nil {
		w.Error(err)
	}
}

// whole fails the test unless all guests and images are what they were made.
func (w *world) whole(what string) {
	w.Helper()
	for _, args := range [][]string{{"image", "verify", "base@1"},
		{"start", "web"}, {"web", "exec", "sh", "-c", "cd / && sha256sum -cs sums && cmp own/mine data/7"}, {"stop", "web"}} {
		if out, errs, err := w.run(args...); err != nil {
			w.Errorf("%s: vserver %s: %v: %s%s", what, strings.Join(args, " "), err, out, errs)
		}
	}
}

// places are files whose content is read, below the data of the host.
const (
	ofImage = "pool/images/base@1/tree/data/7"
	ofWeb   = "guests/web/upper/own/mine"
	ofPlain = "guests/plain/root/data/7"
)

// operation is done while blocks are bad, and once they are good again.
type operation struct {
	do   []string
	undo []string
}

// fails does an operation and wants it to fail, to tell of a word, and to leave nothing. It
// may say that it could not undo all of it, when the disk takes nothing new: works looks then.
func (w *world) fails(word string, o operation) (before string) {
	w.Helper()
	before = w.there()
	what := strings.Join(o.do, " ")
	out, errs, err := w.run(o.do...)
	w.Logf("%s: %v: %s", what, err, errs)
	if err == nil || !strings.Contains(errs, word) {
		w.Errorf("%s: does not tell of %s: %v\n%s%s", what, word, err, out, errs)
	}
	if _, err := os.Stat(filepath.Join(w.at, "x")); err == nil {
		w.Errorf("%s left its file", what)
	}
	if strings.Contains(errs, "(undo: ") {
		return before
	}
	if lines := strings.Split(strings.TrimSpace(errs), "\n"); strings.Count(lines[len(lines)-1], word) > 1 {
		w.Errorf("%s: tells of %s twice", what, word)
	}
	w.same(what, before)
	return before
}

// same wants that there is what was before.
func (w *world) same(what, before string) {
	w.Helper()
	if after := w.there(); after != before {
		w.Errorf("%s left\n%s\ninstead of\n%s", what, after, before)
	}
}

// works does it once more, and undoes it.
func (w *world) works(before string, o operation) {
	w.Helper()
	w.must(o.do...)
	if o.undo != nil {
		w.must(o.undo...)
	}
	if err := os.RemoveAll(filepath.Join(w.at, "x")); err != nil {
		w.Error(err)
	}
	w.same(strings.Join(o.do, " "), before)
}

// TestRead has the content of a file unreadable while it is wanted.
func TestRead(t *testing.T) {
	w := newWorld(t)
	w.must("export", "web", "-o", "web.parcel")
	w.must("image", "import", "twin@1", "tree.tar")
	gone, noImage := []string{"delete", "new", "--yes"}, []string{"image", "delete", "new@1"}
	for _, c := range []struct {
		bad  string // below the host's data, or from / on below the disk
		name string // by which it is told
		operation
	}{
		{"/tree.tar", "tree.tar", operation{[]string{"image", "import", "new@1", "tree.tar"}, noImage}},
		{"/web.parcel", "web.parcel", operation{[]string{"import", "new", "web.parcel", "--new-identity"}, gone}},
		{"/file", "file", operation{[]string{"web", "push", "file", "/own/new"}, nil}},
		{ofImage, "data/7", operation{[]string{"image", "verify", "base@1"}, nil}},
		{ofImage, "data/7", operation{build("new", "base@1", "--root", "dir"), gone}},
		{ofWeb, "own/mine", operation{[]string{"export", "web", "-o", "x"}, nil}},
		{ofWeb, "own/mine", operation{[]string{"web", "commit", "new@1"}, noImage}},
		{ofWeb, "own/mine", operation{[]string{"cp", "web:/own/mine", "plain:/own/mine"}, nil}},
		{ofPlain, "data/7", operation{[]string{"plain", "snapshot", "create", "s"}, []string{"plain", "snapshot", "delete", "s"}}},
		{ofPlain, "data/7", operation{[]string{"clone", "plain", "new"}, gone}},
		{ofPlain, "data/7", operation{[]string{"plain", "diff", "--image", "base@1"}, nil}},
		{"pool/images/twin@1/tree/data/7", "data/7", operation{[]string{"pool", "unify"}, nil}},
		{ofImage, "data/7", operation{[]string{"pool", "verify", "--afresh"}, nil}},
	} {
		path := filepath.Join(w.dirs.Data, c.bad)
		if strings.HasPrefix(c.bad, "/") {
			path = filepath.Join(w.at, c.bad)
		}
		w.set(w.of(path))
		before := w.fails(c.name, c.operation)
		w.set(nil)
		w.works(before, c.operation)
	}
	w.hashify()
}

// hashify has bad blocks in a guest's own file on its way beneath and back. The layer that
// it goes to may stay: the guest shows what it did.
func (w *world) hashify() {
	w.Helper()
	for _, c := range []struct{ what, at string }{{"hashify", ofWeb}, {"unhashify", "layers/*/upper/own/mine"}} {
		found, err := filepath.Glob(filepath.Join(w.dirs.Data, c.at))
		if err != nil || len(found) != 1 {
			w.Fatalf("%s: %q, %v", c.at, found, err)
		}
		w.set(w.of(found[0]))
		if out, errs, err := w.run(c.what, "web"); err == nil || !strings.Contains(errs, "own/mine") {
			w.Errorf("%s: %v: %s%s", c.what, err, out, errs)
		}
		w.set(nil)
		w.must(c.what, "web")
		w.whole(c.what)
	}
}

// TestWrite has all blocks bad that something new can get. What cannot be written is told of
// by the file system's sync alone.
func TestWrite(t *testing.T) {
	w := newWorld(t)
	w.must("export", "web", "-o", "web.parcel")
	gone, noImage := []string{"delete", "new", "--yes"}, []string{"image", "delete", "new@1"}
	for _, o := range []operation{
		{[]string{"image", "import", "new@1", "tree.tar"}, noImage},
		{[]string{"web", "commit", "new@1"}, noImage},
		{[]string{"import", "new", "web.parcel", "--new-identity"}, gone},
		{build("new", "base@1", "--root", "dir"), gone},
		{[]string{"export", "web", "-o", "x"}, nil},
	} {
		w.set(w.free())
		before := w.fails("input/output error", o)
		w.mend()
		w.works(before, o)
	}
	w.whole("write")
}
