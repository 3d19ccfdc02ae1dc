package gallery

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vserver/build"
	"vserver/guest"
	"vserver/host/making"
	"vserver/host/snapshot"
	"vserver/internal/need"
	"vserver/stack"
)

// differs gives what a guest changed: "/path what", a line each.
func differs(t *testing.T, d guest.Dirs, n guest.Name, o DiffOptions) string {
	t.Helper()
	got, err := Diff(t.Context(), d, n, o)
	if err != nil || got.Moving {
		t.Errorf("%+v: %v, %v", o, got.Moving, err)
	}
	var out []string
	for _, c := range got.Changes {
		out = append(out, c.Path+" "+c.What)
	}
	return strings.Join(out, ", ")
}

// TestDiff compares a guest with its image, another one, and snapshots, through a
// directory of the host that it shares as well.
func TestDiff(t *testing.T) {
	need.Root(t)
	d := dirs(t)
	shared := filepath.Join(t.TempDir(), "opt")
	if err := errors.Join(os.Mkdir(shared, 0o755), put(shared, 0, "x=1", "y=1")); err != nil {
		t.Fatal(err)
	}
	imported(t, d, "i@1", "a=1", "b=1")
	imported(t, d, "i@2", "a=1", "b=2")
	spec, src := &guest.Spec{}, build.Image("i@1")
	src.Shared = []string{shared}
	if err := making.Build(t.Context(), d, "web1", spec, src, making.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	own, base := d.Guest("web1"), int(spec.XID.IDBase())
	theirs := filepath.Join(own, "shared", strings.Trim(shared, "/"), "upper")
	take := func(name string) {
		t.Helper()
		if _, err := snapshot.Create(t.Context(), d, "web1", name); err != nil {
			t.Fatal(err)
		}
	}
	take("s1")
	err := errors.Join(put(filepath.Join(own, "upper"), base, "a!", "c=1"), put(theirs, base, "x=2", "y!"))
	if err != nil {
		t.Fatal(err)
	}
	take("s2")
	if err := put(filepath.Join(own, "upper"), base, "a=1", "c=2"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    DiffOptions
		want string
	}{
		{DiffOptions{}, "/c added, " + shared + "/x changed, " + shared + "/y removed"},
		{DiffOptions{Image: "i"}, "/b changed, /c added, " + shared + "/x changed, " + shared + "/y removed"},
		{DiffOptions{From: "s1", To: "s2"}, "/a removed, /c added, " + shared + "/x changed, " + shared + "/y removed"},
		{DiffOptions{From: "s2", To: "s1"}, "/a added, /c removed, " + shared + "/x changed, " + shared + "/y added"},
		{DiffOptions{From: "s2"}, "/a added, /c changed"},
		{DiffOptions{From: "s2", To: "s2"}, ""},
	} {
		if got := differs(t, d, "web1", c.o); got != c.want {
			t.Errorf("%+v: %s; want %s", c.o, got, c.want)
		}
	}
	for o, want := range map[DiffOptions]error{{From: "s3"}: stack.ErrNoSnapshot, {From: "s1", To: "s3"}: stack.ErrNoSnapshot} {
		if _, err := Diff(t.Context(), d, "web1", o); !errors.Is(err, want) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Diff(t.Context(), d, "nope", DiffOptions{}); !errors.Is(err, guest.ErrNotFound) {
		t.Error(err)
	}
	// What was held is free again.
	if err := errors.Join(snapshot.Delete(d, "web1", "s1"), making.RemoveImage(d, "i@2")); err != nil {
		t.Error(err)
	}
}

// TestDiffFresh finds no difference between a new guest, one that shares the host's own
// programs too, and what it lies upon; and tells of the same files once they are changed.
func TestDiffFresh(t *testing.T) {
	need.Root(t)
	d := dirs(t)
	imported(t, d, "i@1", "etc", "etc/ssh", "etc/hosts=127.0.0.1\tlocalhost", "etc/passwd=root::0:0:::", "etc/shadow=root::1::::::", "etc/machine-id=7", "etc/ssh/ssh_host_rsa_key=7")
	spec, src := &guest.Spec{}, build.Image("i@1")
	src.Shared, src.Hidden = []string{"/usr"}, build.Hidden()
	if err := making.Build(t.Context(), d, "web1", spec, src, making.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []DiffOptions{{}, {Image: "i"}} {
		if got := differs(t, d, "web1", o); got != "" {
			t.Errorf("%+v: %s", o, got)
		}
	}
	if _, err := snapshot.Create(t.Context(), d, "web1", "s"); err != nil {
		t.Fatal(err)
	}
	if err := making.Clone(t.Context(), d, "web1", "web2", func(*guest.Spec) error { return nil }, making.CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []guest.Name{"web1", "web2"} {
		if got := differs(t, d, n, DiffOptions{}); got != "" {
			t.Errorf("%s: %s", n, got)
		}
	}
	own := d.Guest("web1") // empty since the snapshot
	err := errors.Join(put(filepath.Join(own, "upper"), int(spec.XID.IDBase()), "etc", "etc/hosts=127.0.0.1 here", "etc/hostname!"),
		put(filepath.Join(own, "shared/usr/upper"), int(spec.XID.IDBase()), "local", "local/x=1"))
	if err != nil {
		t.Fatal(err)
	}
	if got := differs(t, d, "web1", DiffOptions{}); got != "/etc/hostname removed, /etc/hosts changed, /usr/local/x added" {
		t.Error(got)
	}
}

// TestDiffPlain compares a guest whose root is a plain directory.
func TestDiffPlain(t *testing.T) {
	need.Root(t)
	d := dirs(t)
	imported(t, d, "i@1", "a=1", "b=1")
	spec := &guest.Spec{Root: guest.Root{Kind: guest.RootDir}}
	if err := making.Build(t.Context(), d, "web1", spec, build.Image("i"), making.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Create(t.Context(), d, "web1", "s"); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(d.Guest("web1"), "root")
	if err := errors.Join(os.Remove(filepath.Join(root, "a")), put(root, int(spec.XID.IDBase()), "c=1")); err != nil {
		t.Fatal(err)
	}
	if got := differs(t, d, "web1", DiffOptions{From: "s"}); got != "/a removed, /c added" {
		t.Error(got)
	}
	if got := differs(t, d, "web1", DiffOptions{Image: "i"}); !strings.HasPrefix(got, "/a removed, /c added") || strings.Contains(got, "/b") {
		t.Error(got)
	}
	if _, err := Diff(t.Context(), d, "web1", DiffOptions{}); !errors.Is(err, guest.ErrInvalid) {
		t.Error(err)
	}
}
