package gallery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/archive"
	"vserver/build"
	"vserver/guest"
	"vserver/host/making"
	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
	"vserver/store"
)

// killVar tells a child of TestKilled after how many files it dies, and where its world is.
const killVar = "VSERVER_TEST_GALLERY"

func TestMain(m *testing.M) {
	if os.Getenv(killVar) != "" {
		os.Exit(m.Run())
	}
	need.Main(m)
}

func dirs(t *testing.T) guest.Dirs {
	t.Helper()
	d := guest.DefaultDirs(t.TempDir())
	if err := os.MkdirAll(d.Config, 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

// put makes files of a small language in a directory: "d/" a directory, "f=text" a file,
// "l>target" a link, "w!" a whiteout, "d/@" an opaque directory; all of them own's.
func put(dir string, own int, entries ...string) error {
	var errs []error
	for _, e := range entries {
		i := strings.IndexAny(e, "=>!@")
		name := strings.TrimRight(e, "/!@")
		if i >= 0 && (e[i] == '=' || e[i] == '>') {
			name = e[:i]
		}
		path := filepath.Join(dir, name)
		switch {
		case i < 0:
			errs = append(errs, os.Mkdir(path, 0o755))
		case e[i] == '=':
			errs = append(errs, os.WriteFile(path, []byte(e[i+1:]), 0o644))
		case e[i] == '>':
			errs = append(errs, os.Symlink(e[i+1:], path))
		case e[i] == '!':
			errs = append(errs, syscall.Mknod(path, syscall.S_IFCHR, 0))
		default:
			d, err := file.OpenDir(filepath.Dir(path))
			errs = append(errs, err, os.Mkdir(path, 0o755), layer.Hide(d, filepath.Base(path)), d.Close())
		}
		errs = append(errs, os.Lchown(path, own, own))
	}
	return errors.Join(errs...)
}

// source gives files of the language.
func source(entries ...string) build.Source {
	return build.Source{
		Method: "test", Text: "a test",
		Fill: func(_ context.Context, dir string, _ build.Progress) error { return put(dir, 0, entries...) },
	}
}

func imported(t *testing.T, d guest.Dirs, word string, entries ...string) string {
	t.Helper()
	name, err := Import(t.Context(), d, word, source(entries...), ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// upon builds a guest upon an image, with own files.
func upon(t *testing.T, d guest.Dirs, n guest.Name, image string, own ...string) *guest.Spec {
	t.Helper()
	spec := &guest.Spec{}
	if err := making.Build(t.Context(), d, n, spec, build.Image(image), making.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	upper := filepath.Join(d.Guest(n), "upper")
	if err := errors.Join(os.RemoveAll(upper), os.Mkdir(upper, 0o755), put(upper, int(spec.XID.IDBase()), own...)); err != nil {
		t.Fatal(err)
	}
	return spec
}

func said(r Rebased) string {
	var out []string
	for _, c := range r.Conflicts {
		out = append(out, c.Path+" "+c.Guest+" "+c.Image)
	}
	return strings.Join(out, ", ")
}

func TestConflicts(t *testing.T) {
	need.Root(t)
	for name, c := range map[string]struct{ old, now, own, want string }{
		"none":             {"a=1", "a=2", "b=x", ""},
		"changed":          {"a=1", "a=2", "a=x", "/a changed changed"},
		"of equal size":    {"d/ d/a=1", "d/ d/a=2", "d/ d/a=3", "/d/a changed changed"},
		"image left it":    {"a=1 b=1", "a=1 b=2", "a=x", ""},
		"taken away":       {"a=1 d/", "d/", "a=x", "/a changed removed"},
		"guest removed":    {"a=1", "a=2", "a!", "/a removed changed"},
		"both removed":     {"a=1", "d/", "a!", "/a removed removed"},
		"both added":       {"d/", "d/ d/a=1", "d/ d/a=x", "/d/a added added"},
		"a new directory":  {"b=1", "d/ d/a=1 b=1", "d/ d/a=x d/c=y", "/d/a added added"},
		"directory gone":   {"d/ d/a=1", "b=1", "d/ d/a=x d/c=y", "/d changed removed, /d/a changed removed"},
		"begun anew":       {"d/ d/a=1", "d/ d/a=2", "d/@ d/b=x", "/d changed changed"},
		"anew, image same": {"d/ d/a=1 e=1", "d/ d/a=1 e=2", "d/@ d/b=x", ""},
		"link":             {"l>a", "l>b", "l>c", "/l changed changed"},
		"same link":        {"l>a e=1", "l>a e=2", "l>c", ""},
		"another type":     {"a=1", "a/ a/b=1", "a>/etc", "/a changed changed"},
		"each has its own": {"etc/ etc/hostname=a etc/x=a", "etc/ etc/hostname=b etc/x=b", "etc/ etc/hostname=c etc/x=c", "/etc/x changed changed"},
		"through a link":   {"d/ d/passwd=1", "d/ d/passwd=2", "d>/etc", "/d changed changed"},
	} {
		t.Run(name, func(t *testing.T) {
			d := dirs(t)
			imported(t, d, "i@1", strings.Fields(c.old)...)
			imported(t, d, "i@2", strings.Fields(c.now)...)
			upon(t, d, "web1", "i@1", strings.Fields(c.own)...)
			r, err := Rebase(t.Context(), d, "web1", "i@2", RebaseOptions{Dry: true})
			if err != nil || said(r) != c.want {
				t.Errorf("%s, %v; want %s", said(r), err, c.want)
			}
		})
	}
}

func TestRebase(t *testing.T) {
	need.Root(t)
	d := dirs(t)
	imported(t, d, "i@1", "a=1")
	imported(t, d, "i@2", "a=2")
	imported(t, d, "j@1", "b=1")
	upon(t, d, "web1", "i@1")
	text, err := store.Read(d.Spec("web1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.WriteText(d.Spec("web1"), append(text, "# a comment\n"...)); err != nil {
		t.Fatal(err)
	}
	if _, err := Rebase(t.Context(), d, "web1", "i", RebaseOptions{Dry: true}); err != nil {
		t.Error(err)
	}
	lower := func() string {
		spec, err := store.Load(d.Spec("web1"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(spec.Root.Lower, " ")
	}
	if lower() != "i@1" {
		t.Errorf("dry: %s", lower())
	}
	for _, step := range []struct{ to, want string }{{"i", "i@2"}, {"j", "j@1"}, {"i@1", "i@1"}} {
		if r, err := Rebase(t.Context(), d, "web1", step.to, RebaseOptions{}); err != nil || lower() != step.want || r.To != step.want {
			t.Errorf("to %s: %s, %+v, %v", step.to, lower(), r, err)
		}
	}
	if text, _ = store.Read(d.Spec("web1")); !bytes.HasSuffix(text, []byte("# a comment\n")) {
		t.Errorf("comments: %s", text)
	}
	// What is beneath may have gone when it is not ours any more, and no sooner.
	if err := making.RemoveImage(d, "i@1"); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("removed beneath a guest: %v", err)
	}
	text = bytes.Replace(text, []byte("[i@1]"), []byte("[i@1, j@1]"), 1)
	if err := store.WriteText(d.Spec("web1"), text); err != nil {
		t.Fatal(err)
	}
	if _, err := Rebase(t.Context(), d, "web1", "j@1", RebaseOptions{}); err != nil || lower() != "i@1 j@1" {
		t.Errorf("%s, %v", lower(), err)
	}
	imported(t, d, "k@1", "c=1")
	for n, word := range map[guest.Name]string{"web1": "k", "nope": "i", "web2": "i"} {
		if n == "web2" {
			spec := &guest.Spec{Root: guest.Root{Kind: guest.RootDir}}
			if err := making.Build(t.Context(), d, n, spec, build.Image("i"), making.BuildOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Rebase(t.Context(), d, n, word, RebaseOptions{}); err == nil {
			t.Errorf("%s rebased to %s", n, word)
		}
	}
}

// TestPlainNameHolds: a guest whose spec names no version may run upon any.
func TestPlainNameHolds(t *testing.T) {
	need.Root(t)
	d := dirs(t)
	imported(t, d, "i@1", "a=1")
	upon(t, d, "web1", "i@1")
	text, err := store.Read(d.Spec("web1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.WriteText(d.Spec("web1"), bytes.Replace(text, []byte("i@1"), []byte("i"), 1)); err != nil {
		t.Fatal(err)
	}
	imported(t, d, "i@2", "a=2")
	if removed, err := Collect(d, CollectOptions{Unused: true}); err != nil || len(removed) > 0 {
		t.Errorf("%v, %v", removed, err)
	}
	for _, name := range []string{"i@1", "i@2"} {
		if err := making.RemoveImage(d, name); !errors.Is(err, guest.ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGuest takes in what a guest sees, whose own files are hostile.
func TestGuest(t *testing.T) {
	need.Root(t)
	d := dirs(t)
	imported(t, d, "i@1", "a=1", "gone=1", "etc/", "etc/passwd=image", "sub/", "sub/x=1", "old/", "old/x=1")
	upon(t, d, "web1", "i@1", "gone!", "etc>/etc", "sub/", "sub/y=2", "old/@", "out>../../../../../etc/passwd", "b=2")
	upper := filepath.Join(d.Guest("web1"), "upper")
	if err := errors.Join(os.Chmod(filepath.Join(upper, "b"), 0o755|os.ModeSetuid), os.Link(filepath.Join(upper, "b"), filepath.Join(upper, "sub/b"))); err != nil {
		t.Fatal(err)
	}
	name, err := Import(t.Context(), d, "web", Guest(d, "web1", ""), ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := Export(t.Context(), d, name, "", &text, io.Discard); err != nil {
		t.Fatal(err)
	}
	out, err := file.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := archive.New(out).Tar(t.Context(), &text); err != nil {
		t.Fatal(err)
	}
	got, err := out.Names()
	slices.Sort(got)
	if want := []string{"a", "b", "etc", "old", "out", "sub"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	b, err := out.Stat("b")
	if err != nil || b.UID != 0 || b.Perm() != 0o4755 || b.Links != 2 {
		t.Errorf("%+v, %v", b, err)
	}
	if to, err := out.Readlink("etc"); err != nil || to != "/etc" {
		t.Errorf("%s, %v", to, err)
	}
	if _, err := Import(t.Context(), d, "web", Guest(d, "nope", ""), ImportOptions{}); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("no such guest: %v", err)
	}
}

// TestKilled kills an import after each file. What is left is swept, the image is never
// half there.
func TestKilled(t *testing.T) {
	need.Root(t)
	const files = 3
	if says := os.Getenv(killVar); says != "" {
		var after int
		root := ""
		fmt.Sscanf(says, "%d %s", &after, &root)
		d := guest.DefaultDirs(root)
		Import(t.Context(), d, "i", build.Source{Method: "test", Fill: func(_ context.Context, dir string, _ build.Progress) error {
			for i := range files {
				if i == after {
					syscall.Kill(os.Getpid(), syscall.SIGKILL)
				}
				put(dir, 0, fmt.Sprintf("f%d=x", i))
			}
			return nil
		}}, ImportOptions{})
		return
	}
	for after := range files + 1 {
		root := need.TempDir(t)
		d := guest.DefaultDirs(root)
		c := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", killVar, after, root))
		out, err := c.CombinedOutput()
		if (err == nil) != (after == files) {
			t.Fatalf("after %d: %v\n%s", after, err, out)
		}
		if _, err := Collect(d, CollectOptions{}); err != nil {
			t.Error(err)
		}
		all, err := List(d)
		if want := after / files; err != nil || len(all) != want {
			t.Errorf("after %d: %d images, %v", after, len(all), err)
		}
		if found, err := Verify(t.Context(), d, nil, io.Discard); err != nil || len(found) > 0 {
			t.Errorf("after %d: %v, %v", after, found, err)
		}
		for _, dir := range []string{"staging", "locks"} {
			if left, err := os.ReadDir(filepath.Join(d.Pool(), dir)); err != nil || len(left) > 0 {
				t.Errorf("after %d: %s: %v, %v", after, dir, left, err)
			}
		}
	}
}

// TestAtOnce imports under one name at once: each gets a version of its own.
func TestAtOnce(t *testing.T) {
	need.Root(t)
	d := dirs(t)
	const many = 6
	got := make(chan string, many)
	for range many {
		go func() {
			name, err := Import(t.Context(), d, "i", source("a=1"), ImportOptions{})
			if err != nil {
				name = err.Error()
			}
			got <- name
		}()
	}
	names := map[string]bool{}
	for range many {
		names[<-got] = true
	}
	first := "i@" + time.Now().Format("20060102")
	if len(names) != many || !names[first] && !names["i@"+time.Now().Add(-time.Hour).Format("20060102")] {
		t.Errorf("%v", names)
	}
	if _, err := pool.Open(d.Pool()).Resolve("i"); err != nil {
		t.Error(err)
	}
}
