package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"vserver/kernel/file"
)

// What happened to a file between two roots.
const (
	Added   = "added"
	Changed = "changed" // another type, content, target or device
	Removed = "removed"
	Dressed = "metadata" // another owner, other permission bits or extended attributes alone
)

// Change is a path at which two roots differ.
type Change struct {
	Path string // absolute
	What string // Added, Changed, Removed or Dressed
	// Before and After are what was and is there, with ids as the guest sees them; nil for
	// nothing.
	Before, After *file.Stat
}

// Diff gives what differs between two roots, sorted by path. Times do not count. at is
// where both are in the guest, "" for its root; places that over tells, by such paths, are
// left out: something else lies there. Trees that both have at their lower ends are read
// only where one of the others hides something of them. A guest may change its files
// meanwhile: each is seen as it is at some moment.
func Diff(ctx context.Context, before, after *Root, at string, over func(string) bool) ([]Change, error) {
	d := differ{a: before, b: after, over: over}
	var err error
	if d.common, err = common(before, after); err != nil {
		return nil, err
	}
	a, err := before.top()
	if err != nil {
		return nil, err
	}
	b, err := after.top()
	if err != nil {
		return nil, err
	}
	if err := d.compare(a, b, at); err != nil {
		return nil, err
	}
	err = d.dir(ctx, a, b, at, 0)
	slices.SortFunc(d.found, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return d.found, err
}

type differ struct {
	a, b   *Root
	common int // how many of the lowest trees are the same
	over   func(string) bool
	found  []Change
}

// top is the root's own node, which is not to be closed.
func (r *Root) top() (*node, error) {
	st, err := r.dirs[0].Self()
	return &node{dirs: r.dirs, st: st}, err
}

// common counts the trees that two roots share, from below.
func common(a, b *Root) (n int, err error) {
	for n < min(len(a.dirs), len(b.dirs)) {
		i, j := len(a.dirs)-1-n, len(b.dirs)-1-n
		x, err := a.dirs[i].Self()
		if err != nil {
			return n, err
		}
		y, err := b.dirs[j].Self()
		if err != nil || !sameInode(x, y) || a.bases[i] != b.bases[j] {
			return n, err
		}
		n++
	}
	return n, nil
}

func sameInode(a, b file.Stat) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// names gives those of two directories' entries that may differ, sorted.
func (d *differ) names(a, b *node) (out []string, err error) {
	all := !d.alike(a, b)
	for _, n := range []*node{a, b} {
		if n == nil {
			continue
		}
		for i, dir := range n.dirs {
			if dir == nil || !all && i >= len(n.dirs)-d.common {
				continue
			}
			names, err := dir.Names()
			if err != nil {
				return nil, err
			}
			out = append(out, names...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// alike tells whether two directories show the same of the trees that they share.
func (d *differ) alike(a, b *node) bool {
	if a == nil || b == nil || !a.isDir() || !b.isDir() {
		return false
	}
	for i := 1; i <= d.common; i++ {
		if (a.dirs[len(a.dirs)-i] == nil) != (b.dirs[len(b.dirs)-i] == nil) {
			return false
		}
	}
	return true
}

// dir goes through a place that is a directory in one of the two at least.
func (d *differ) dir(ctx context.Context, a, b *node, at string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("compare %s: more than %d directories deep", at, deepest)
	}
	names, err := d.names(a, b)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p := path.Join(at, name); !d.over(p) {
			if err := d.entry(ctx, a, b, name, p, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *differ) entry(ctx context.Context, a, b *node, name, at string, depth int) (err error) {
	var x, y *node
	// What a running guest exchanges between two looks is looked at again.
	const tries = 3
	for range tries {
		if x, y, err = d.both(a, b, name, at); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	defer x.close()
	defer y.close()
	return d.dir(ctx, x, y, at, depth+1)
}

// both looks at an entry in two directories and notes what differs, what is below it left
// out.
func (d *differ) both(a, b *node, name, at string) (x, y *node, err error) {
	if x, err = a.under(name); err != nil {
		return nil, nil, err
	}
	if y, err = b.under(name); err == nil {
		err = d.compare(x, y, at)
	}
	if err != nil {
		x.close()
		y.close()
		return nil, nil, err
	}
	return x, y, nil
}

// under is lookup for a node that may be nil or no directory; nil for nothing.
func (n *node) under(name string) (*node, error) {
	if n == nil || !n.isDir() {
		return nil, nil
	}
	out, err := n.lookup(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return out, err
}

// compare notes what differs between two entries themselves.
func (d *differ) compare(x, y *node, at string) (err error) {
	c := Change{Path: "/" + at, Before: d.a.seen(x), After: d.b.seen(y)}
	switch {
	case x == nil && y == nil:
		return nil
	case x == nil:
		c.What = Added
	case y == nil:
		c.What = Removed
	case sameInode(x.st, y.st) && d.a.bases[x.at] == d.b.bases[y.at]:
		return nil
	default:
		if c.What, err = d.what(x, y, c); err != nil || c.What == "" {
			return err
		}
	}
	d.found = append(d.found, c)
	return nil
}

// seen is a node's stat, with ids as the guest sees them.
func (r *Root) seen(n *node) *file.Stat {
	if n == nil {
		return nil
	}
	st, s := n.st, Shift{From: r.bases[n.at]}
	st.UID, st.GID = s.ID(st.UID), s.ID(st.GID)
	return &st
}

// what tells how two entries differ that are there; "" when they do not.
func (d *differ) what(x, y *node, c Change) (string, error) {
	equal, err := sameData(x, y)
	if err != nil {
		return "", err
	}
	if !equal {
		return Changed, nil
	}
	if c.Before.UID != c.After.UID || c.Before.GID != c.After.GID || c.Before.Mode != c.After.Mode {
		return Dressed, nil
	}
	if c.After.Type() == file.TypeLink {
		return "", nil
	}
	before, err := d.a.xattrs(x)
	if err != nil {
		return "", err
	}
	after, err := d.b.xattrs(y)
	if err != nil || slices.Equal(before, after) {
		return "", err
	}
	return Dressed, nil
}

// sameData tells whether two entries have the same type and content; that of directories
// does not count.
func sameData(x, y *node) (bool, error) {
	if x.st.Type() != y.st.Type() || x.st.Rdev != y.st.Rdev {
		return false, nil
	}
	switch x.st.Type() {
	case file.TypeLink:
		a, err := x.in.Readlink(x.name)
		if err != nil {
			return false, err
		}
		b, err := y.in.Readlink(y.name)
		return a == b, err
	case file.TypeFile:
		if sameInode(x.st, y.st) || x.st.Size != y.st.Size {
			return x.st.Size == y.st.Size, nil
		}
		return SameContent(x.in, x.name, y.in, y.name)
	}
	return true, nil
}

// xattrs are a node's attributes as the guest has them, sorted: "name=value".
func (r *Root) xattrs(n *node) (out []string, err error) {
	var e *file.Entry
	if n.isDir() {
		e, err = n.dirs[n.at].SelfEntry()
	} else {
		e, err = n.in.Entry(n.name)
	}
	if err != nil {
		return nil, err
	}
	defer e.Close()
	xs, err := e.Xattrs()
	if err != nil {
		return nil, err
	}
	for _, x := range xs {
		is, ok, err := (Shift{From: r.bases[n.at]}).Xattr(x)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path(), err)
		}
		if ok && !Note(x) {
			out = append(out, is.Name+"="+string(is.Value))
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out, nil
}

// SameContent tells whether two regular files have the same content.
func SameContent(a *file.Dir, name string, b *file.Dir, other string) (bool, error) {
	f, err := a.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := b.Open(other, os.O_RDONLY, 0)
	if err != nil {
		return false, err
	}
	defer g.Close()
	const piece = 128 << 10
	x, y := make([]byte, piece), make([]byte, piece)
	for {
		n, end, err := fill(f, x)
		m, _, merr := fill(g, y)
		if err = errors.Join(err, merr); err != nil || !bytes.Equal(x[:n], y[:m]) {
			return false, err
		}
		if end {
			return true, nil
		}
	}
}

// fill reads as much as b has room for, and tells whether the file ends there.
func fill(f *os.File, b []byte) (n int, end bool, err error) {
	n, err = io.ReadFull(f, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, true, nil
	}
	return n, false, err
}
