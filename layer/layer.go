// Package layer works on the trees that a guest's root is made of, without mounting
// them: it reads and writes files through an overlay's layers, copies a tree for a
// clone, and gives a tree to other ids. The trees' content is the guests' and may be
// hostile and changing: everything goes through directory handles (kernel/file), and
// no symbolic link is followed.
//
//house:allow reading, writing, copying and comparing go through one kind of merged directory
package layer

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"vserver/kernel/file"
)

// opaque marks an upper directory that hides the lower ones of its name.
const opaque = "trusted.overlay.opaque"

// Root is the root of a guest as seen through its layers.
type Root struct {
	dirs  []*file.Dir      // the writable one first
	bases []uint32         // host id of guest id 0 in each
	base  uint32           // in the writable one
	known map[string]*node // directories that were walked through, by their paths
}

// mostKnown is how many directories are kept open: each is one in every layer.
const mostKnown = 16

// Tree is a tree below the writable one.
type Tree struct {
	Dir  string
	Base uint32 // host id of guest id 0 in it; 0 in an image
}

// Open opens the layers. upper is the guest's own, its ids beginning at base; lowers,
// topmost first, have ids from 0. A guest in a plain directory has no lowers.
func Open(upper string, lowers []string, base uint32) (*Root, error) {
	trees := []Tree{{upper, base}}
	for _, l := range lowers {
		trees = append(trees, Tree{Dir: l})
	}
	return Stack(trees)
}

// Stack is Open for trees whose ids begin anywhere, the writable one first.
func Stack(trees []Tree) (*Root, error) {
	r := &Root{known: map[string]*node{}}
	for _, t := range trees {
		d, err := file.OpenDir(t.Dir)
		if err != nil {
			r.Close()
			return nil, err
		}
		r.dirs, r.bases = append(r.dirs, d), append(r.bases, t.Base)
	}
	r.base = r.bases[0]
	return r, nil
}

// Close closes the layers.
func (r *Root) Close() {
	r.forget("")
	for _, d := range r.dirs {
		d.Close()
	}
}

// node is a place in the merged tree: what each layer has there, the writable one
// first, nil where a layer has nothing to show.
type node struct {
	dirs []*file.Dir // when it is a directory
	// When it is not: where it is.
	in   *file.Dir
	name string
	st   file.Stat
	at   int // index of the layer, or of the topmost directory
}

func (n *node) isDir() bool { return n.dirs != nil }

// close closes its directories; a nil node has none.
func (n *node) close() {
	if n == nil {
		return
	}
	for _, d := range n.dirs {
		if d != nil {
			d.Close()
		}
	}
}

// ErrOdd says that a path goes through something that is not what it must be, or
// ends there: a symbolic link, a file in place of a directory.
var ErrOdd = errors.New("not followed")

// odd is an ErrOdd that says what is there. As a type it costs nothing at start-up.
type odd string

const (
	errLink   odd = "is a symbolic link"
	errNotDir odd = "is not a directory"
	errDir    odd = "is a directory"
)

// Error says what is there.
func (o odd) Error() string { return string(o) + ": " + ErrOdd.Error() }

// Is makes it an ErrOdd.
func (o odd) Is(target error) bool { return target == ErrOdd }

// lookup finds the entry of a merged directory. The node's in stays the parent's.
func (n *node) lookup(name string) (*node, error) {
	out := &node{at: -1}
	for i, d := range n.dirs {
		if d == nil {
			continue
		}
		st, err := d.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, out.drop())
		}
		if st.Whiteout() || out.isDir() && st.Type() != file.TypeDir {
			break
		}
		if st.Type() != file.TypeDir {
			out.in, out.name, out.st, out.at = d, name, st, i
			return out, nil
		}
		last, err := out.join(d, name, i, len(n.dirs))
		if err != nil {
			return nil, errors.Join(err, out.drop())
		}
		if out.at < 0 {
			out.st, out.at = st, i
		}
		if last {
			break
		}
	}
	if out.at < 0 {
		return nil, fs.ErrNotExist
	}
	return out, nil
}

func (n *node) drop() error { n.close(); return nil }

// join adds a layer's directory to a merged one and tells whether it hides those
// beneath.
func (n *node) join(d *file.Dir, name string, i, layers int) (last bool, err error) {
	sub, err := d.Dir(name)
	if err != nil {
		return false, err
	}
	if n.dirs == nil {
		n.dirs = make([]*file.Dir, layers)
	}
	n.dirs[i] = sub
	if i == layers-1 {
		return true, nil
	}
	v, err := file.XattrOf(sub, opaque)
	return err == nil && string(v) == "y", nil
}

// shows tells whether a merged directory has an entry of the name.
func (n *node) shows(name string) (bool, error) {
	for _, d := range n.dirs {
		if d == nil {
			continue
		}
		st, err := d.Stat(name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err == nil && !st.Whiteout(), err
		}
	}
	return false, nil
}

// odd is why a node that is no directory is not gone through.
func (n *node) odd() error {
	if n.st.Type() == file.TypeLink {
		return errLink
	}
	return errNotDir
}

// walk finds a path below the root, written without a leading slash. Directories stay open
// for the next walk, until forget.
func (r *Root) walk(p string) (*node, error) {
	if len(r.known) > mostKnown {
		r.forget("")
	}
	at, p := &node{dirs: r.dirs}, path.Clean(p)
	for end := 0; end <= len(p); end++ {
		if end < len(p) && p[end] != '/' {
			continue
		}
		if next := r.known[p[:end]]; next != nil {
			at = next
			continue
		}
		if !at.isDir() {
			return nil, &fs.PathError{Op: "look up", Path: p, Err: at.odd()}
		}
		next, err := at.lookup(path.Base(p[:end]))
		if errors.Is(err, fs.ErrNotExist) {
			err = &fs.PathError{Op: "look up", Path: p, Err: fs.ErrNotExist}
		}
		if err != nil {
			return nil, err
		}
		if next.isDir() {
			r.known[p[:end]] = next
		}
		at = next
	}
	return at, nil
}

// forget closes a directory, and those below it, that was changed in itself; all for "".
func (r *Root) forget(p string) {
	for at, n := range r.known {
		if p == "" || at == p || strings.HasPrefix(at, p+"/") {
			n.close()
			delete(r.known, at)
		}
	}
}

// Stat looks at a file, with ids as the guest sees them.
func (r *Root) Stat(p string) (file.Stat, error) {
	last, err := r.walk(p)
	if err != nil {
		return file.Stat{}, err
	}
	st := last.st
	st.UID, st.GID = st.UID-r.bases[last.at], st.GID-r.bases[last.at]
	return st, nil
}

// Hides tells whether a directory shows nothing of what the lowest layer has there.
func (r *Root) Hides(p string) bool {
	n, err := r.walk(p)
	return err == nil && n.isDir() && n.dirs[len(n.dirs)-1] == nil
}

// Read gives the content of a regular file of at most max bytes.
func (r *Root) Read(p string, max int64) ([]byte, error) {
	last, err := r.walk(p)
	if err != nil {
		return nil, err
	}
	if last.isDir() {
		return nil, &fs.PathError{Op: "read", Path: p, Err: errDir}
	}
	if last.st.Type() == file.TypeLink {
		return nil, &fs.PathError{Op: "read", Path: p, Err: errLink}
	}
	return last.in.Read(last.name, max)
}

// Readlink gives where a symbolic link leads.
func (r *Root) Readlink(p string) (string, error) {
	last, err := r.walk(p)
	if err != nil {
		return "", err
	}
	if last.isDir() {
		return "", &fs.PathError{Op: "read link", Path: p, Err: errDir}
	}
	return last.in.Readlink(last.name)
}

// Names lists a directory, sorted; a directory that is not there has no entries.
func (r *Root) Names(p string) ([]string, error) {
	out, err := r.Listed(p)
	if err != nil {
		return nil, err
	}
	last, err := r.walk(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(out, func(name string) bool {
		seen, err := last.shows(name)
		return err != nil || !seen // hidden by a whiteout
	}), nil
}

// Listed is Names with those that are hidden, which it takes a look at each name to tell:
// in a directory of three hundred that is as long as making three files.
func (r *Root) Listed(p string) ([]string, error) {
	last, err := r.walk(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, d := range last.dirs {
		if d == nil {
			continue
		}
		names, err := d.Names()
		if err != nil {
			return nil, err
		}
		out = append(out, names...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
