package layer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

// differs gives what differs between two stacks: "A /path", a letter each.
func differs(t *testing.T, a, b *Root, at string) string {
	t.Helper()
	found, err := Diff(t.Context(), a, b, at, func(p string) bool { return p == "skip" })
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range found {
		if (c.Before == nil) != (c.What == Added) || (c.After == nil) != (c.What == Removed) {
			t.Errorf("%+v", c)
		}
		out = append(out, map[string]string{Added: "A", Changed: "C", Removed: "D", Dressed: "M"}[c.What]+" "+c.Path)
	}
	return strings.Join(out, " ")
}

func stacked(t *testing.T, trees ...Tree) *Root {
	t.Helper()
	r, err := Stack(trees)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestDiff(t *testing.T) {
	need.Root(t)
	for name, c := range map[string]struct{ low, own, want, back string }{
		"nothing":           {"a=1 d/ d/x=1", "", "", ""},
		"copied up":         {"a=1 d/ d/x=1 l>a", "a=1 d/ d/x=1 l>a", "", ""},
		"file":              {"a=1 b=1", "a=2 c=1 b!", "C /a D /b A /c", "C /a A /b D /c"},
		"of another size":   {"a=1", "a=22", "C /a", "C /a"},
		"link":              {"l>a", "l>b", "C /l", "C /l"},
		"below":             {"d/ d/e/ d/e/x=1 d/e/y=1", "d/ d/e/ d/e/x! d/e/z=1", "D /d/e/x A /d/e/z", "A /d/e/x D /d/e/z"},
		"directory gone":    {"d/ d/e/ d/e/x=1", "d!", "D /d D /d/e D /d/e/x", "A /d A /d/e A /d/e/x"},
		"directory new":     {"a=1", "d/ d/e/ d/e/x=1", "A /d A /d/e A /d/e/x", "D /d D /d/e D /d/e/x"},
		"begun anew":        {"d/ d/x=1 d/y=1 d/e/ d/e/x=1", "d/@ d/x=1 d/z=1", "D /d/e D /d/e/x D /d/y A /d/z", "A /d/e A /d/e/x A /d/y D /d/z"},
		"anew, all as was":  {"d/ d/x=1 d/e/ d/e/x=1", "d/@ d/x=1 d/e/ d/e/x=1", "", ""},
		"directory to file": {"d/ d/x=1", "d=1", "C /d D /d/x", "C /d A /d/x"},
		"file to directory": {"d=1", "d/ d/x=1", "C /d A /d/x", "C /d D /d/x"},
		"to a link outside": {"d/ d/passwd=1", "d>/etc", "C /d D /d/passwd", "C /d A /d/passwd"},
		"whiteout of none":  {"a=1", "b!", "", ""},
		"something over it": {"skip/ skip/a=1", "skip/ skip/a=2", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			low := Tree{Dir: tree(t, 0, strings.Fields(c.low)...)}
			own := Tree{tree(t, base, strings.Fields(c.own)...), base}
			// A guest of other ids has the same, and shares no tree with the others.
			other := Tree{tree(t, 2*base, strings.Fields(c.low)...), 2 * base}
			for _, a := range []*Root{stacked(t, low), stacked(t, other)} {
				b := stacked(t, own, low)
				if got := differs(t, a, b, ""); got != c.want {
					t.Errorf("%s; want %s", got, c.want)
				}
				if got := differs(t, b, a, ""); got != c.back {
					t.Errorf("back: %s; want %s", got, c.back)
				}
			}
		})
	}
}

// TestDiffDress changes owners, bits and attributes alone.
func TestDiffDress(t *testing.T) {
	need.Root(t)
	all := strings.Fields("a=1 b=1 c=1 d/ d/x=1 e=1 f=1")
	low, own := tree(t, 0, all...), tree(t, base, all...)
	set := func(dir, name, key string, value []byte) error {
		e, err := dirOf(t, dir).Entry(name)
		if err != nil {
			return err
		}
		return errors.Join(e.SetXattr(key, value), e.Close())
	}
	// An ACL that names user 7 is the same in both, each with its ids.
	acl := func(id byte, above byte) []byte {
		e := func(tag, perm byte, id ...byte) []byte { return append([]byte{tag, 0, perm, 0}, id...) }
		none := []byte{255, 255, 255, 255}
		out := []byte{2, 0, 0, 0}
		for _, x := range [][]byte{e(1, 6, none...), e(2, 4, id, 0, above, 0), e(4, 4, none...), e(16, 4, none...), e(32, 4, none...)} {
			out = append(out, x...)
		}
		return out
	}
	err := errors.Join(os.Chmod(filepath.Join(own, "a"), 0o4755), os.Chown(filepath.Join(own, "b"), base+33, base),
		set(own, "c", "user.x", []byte("y")), set(own, "d", opaque, []byte("n")), os.Chmod(filepath.Join(own, "d"), 0o700),
		os.Chtimes(filepath.Join(own, "e"), time.Unix(1, 0), time.Unix(1, 0)),
		set(low, "f", "system.posix_acl_access", acl(7, 0)), set(own, "f", "system.posix_acl_access", acl(7, base>>16)))
	if err != nil {
		t.Fatal(err)
	}
	a, b := stacked(t, Tree{Dir: low}), stacked(t, Tree{own, base}, Tree{Dir: low})
	const want = "M /usr/a M /usr/b M /usr/c M /usr/d"
	if got := differs(t, a, b, "usr"); got != want {
		t.Errorf("%s; want %s", got, want)
	}
	found, err := Diff(t.Context(), a, b, "", func(string) bool { return false })
	if err != nil || found[1].Before.UID != 0 || found[1].After.UID != 33 {
		t.Errorf("%+v, %v", found[1], err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Diff(ctx, a, b, "", func(string) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestDiffShares reads no directory that both have from the same trees.
func TestDiffShares(t *testing.T) {
	need.Root(t)
	low := tree(t, 0, "d/", "d/e/", "d/e/x=1", "f/", "f/x=1")
	mid, own := tree(t, base, "d/", "d/y=1"), tree(t, base, "d/", "d/z=1")
	a := stacked(t, Tree{mid, base}, Tree{Dir: low})
	b := stacked(t, Tree{own, base}, Tree{mid, base}, Tree{Dir: low})
	var asked []string
	if _, err := Diff(t.Context(), a, b, "", func(p string) bool { asked = append(asked, p); return false }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(asked, " "); got != "d d/z" {
		t.Errorf("looked at %s", got)
	}
}
