package pool

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"vserver/guest"
)

// made adds images, each a second younger than the one before.
func made(t *testing.T, names ...string) *Pool {
	t.Helper()
	p := Open(filepath.Join(t.TempDir(), "pool"))
	for i, n := range names {
		name, arch, _ := strings.Cut(n, " ")
		if err := p.Add(t.Context(), name, Meta{Arch: arch}, fillWith(n)); err != nil {
			t.Fatal(err)
		}
		when := time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC).Format(time.RFC3339)
		text := `{"made": "` + when + `", "arch": "` + arch + `"}`
		if err := os.WriteFile(filepath.Join(p.image(name), "image.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestCheckName(t *testing.T) {
	for _, n := range []string{"a", "debian-12", "a@b", "a@2026.1", "A_b+c@1"} {
		if err := CheckName(n); err != nil {
			t.Error(err)
		}
	}
	for _, n := range []string{"a@", "@a", "a@b@c", "a@.b", "a@../b", "a@-b", "a@b/c", "a:b", "a@" + strings.Repeat("b", 127)} {
		if err := CheckName(n); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %v", n, err)
		}
	}
}

func TestResolve(t *testing.T) {
	other := " " + map[bool]string{true: "s390x", false: "mips"}[runtime.GOARCH != "s390x"]
	p := made(t, "d@2", "d@1", "d@9"+other, "plain", "dd@7", "o@1"+other, "o@3"+other, "e@3"+other, "e@1", "e@2"+other)
	for word, want := range map[string]string{"d": "d@1", "d@2": "d@2", "plain": "plain", "dd": "dd@7", "d@9": "d@9", "o": "o@3", "e": "e@1", "nope": "", "d@3": "", "d@": ""} {
		if got, err := p.Resolve(word); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", word, got, err, want)
		}
	}
	if tree, err := p.Tree("d"); err != nil || tree != filepath.Join(p.image("d@1"), "tree") {
		t.Errorf("%s, %v", tree, err)
	}
}

func TestTags(t *testing.T) {
	p := made(t, "d@1", "d@2", "e@1")
	for _, bad := range [][2]string{{"e@1", "d@x"}, {"d@7", "d@x"}, {"d@1", "d@2"}, {"d@1", "../d"}, {"d@1", "d@x/y"}} {
		if err := p.Tag(t.Context(), bad[0], bad[1]); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
	for _, to := range []string{"d@1", "d@2", "d@1"} {
		if err := errors.Join(p.Tag(t.Context(), to, "d"), p.Tag(t.Context(), "d", "d@stable")); err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"d", "d@stable"} {
			if got, err := p.Resolve(word); err != nil || got != to {
				t.Errorf("%s: %s, %v; want %s", word, got, err, to)
			}
		}
	}
	if err := p.Add(t.Context(), "d@stable", Meta{}, fillWith("x")); !errors.Is(err, guest.ErrExists) {
		t.Errorf("an image over a tag: %v", err)
	}
	if err := p.Untag("d"); err != nil {
		t.Error(err)
	}
	if err := p.Untag("d"); !errors.Is(err, ErrNoImage) {
		t.Errorf("again: %v", err)
	}
	if err := os.Symlink("d@2", p.tag(".d@half")); err != nil { // a Tag that was killed
		t.Fatal(err)
	}
	if err := p.Remove("d@1", nil); err != nil {
		t.Fatal(err)
	}
	if tags, err := p.Tags(); err != nil || len(tags) > 0 {
		t.Errorf("%v, %v", tags, err)
	}
	if left, err := os.ReadDir(filepath.Join(p.dir, "tags")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	empty(t, p)
}

// TestHostileTag: whoever can write there is root; a broken link is no way out for all that.
func TestHostileTag(t *testing.T) {
	p := made(t, "d@1")
	for _, to := range []string{"../../etc", "/etc", "d@9", ""} {
		os.Remove(p.tag("d@x"))
		if err := os.Symlink(to, p.tag("d@x")); err != nil && to != "" {
			t.Fatal(err)
		}
		if got, err := p.Resolve("d@x"); !errors.Is(err, ErrNoImage) {
			t.Errorf("%q: %q, %v", to, got, err)
		}
	}
}

func TestVersion(t *testing.T) {
	p := made(t, "plain", "d@20260102", "d@20260102.2", "e@1")
	day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for word, want := range map[string]string{"d": "d@20260102.3", "e": "e@20260102", "f": "f@20260102", "f@x": "f@x", "plain": "", "a/b": ""} {
		if got, err := p.Version(word, day); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%s: %q, %v; want %q", word, got, err, want)
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"a", "a@b", "../a", "a@b@c", "@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckName(s) == nil && (filepath.Base(s) != s || s == "." || s == ".." || strings.Count(s, "@") > 1) {
			t.Errorf("%q passes", s)
		}
	})
}
