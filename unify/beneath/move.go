package beneath

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/unify"
)

// Moved says what Move did. Sizes are those of contents, in bytes.
type Moved struct {
	Files int64 `json:"files"` // moved beneath
	Bytes int64 `json:"bytes"`
	Left  int64 `json:"left"` // regular files that stay in the private layer
}

// Move moves the regular files that are wanted, by their paths in the guest, out of the
// private layer into the one beneath. Hard links, small files and those with ids that the
// guest does not have stay. What the private layer hides beneath is taken away there.
// syscall.EXDEV when the two layers cannot be linked with each other.
func (l *Layer) Move(ctx context.Context, wanted func(path string) bool, each unify.Each) (Moved, error) {
	if err := l.begin(); err != nil {
		return Moved{}, err
	}
	m := &mover{Layer: l, wanted: wanted, each: each}
	root := &level{up: l.up, down: l.down, path: "/"}
	err := m.settled()
	if err == nil {
		err = m.all(ctx, root, 0)
	}
	if err == nil {
		err = m.away(ctx)
	}
	if err != nil {
		return m.moved, err
	}
	return m.moved, l.end()
}

type mover struct {
	*Layer
	wanted func(string) bool
	each   unify.Each
	moved  Moved
	// Of layers on two file systems: directories that are to hide nothing any more, and files
	// whose copies are beneath, by their paths.
	reveal, copied []string
}

// level is a directory of both layers.
type level struct {
	above  *level
	name   string
	path   string
	up     *file.Dir
	down   *file.Dir // nil when the layer beneath has none
	opaque bool      // up hides what is below the layer beneath as well
}

// all goes through the entries of a directory of the private layer.
func (m *mover) all(ctx context.Context, at *level, depth int) error {
	if depth > deepest { // such a file is not worth the while
		return nil
	}
	before, err := at.up.Self()
	if err != nil {
		return err
	}
	items, err := file.Items(at.up)
	for _, it := range items {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = m.entry(ctx, at, it.Name, depth)
		}
	}
	after, serr := at.up.Self()
	if serr == nil && after.Mtime != before.Mtime {
		serr = m.setTimes(at, before)
	}
	return errors.Join(err, serr)
}

// setTimes gives a directory of the private layer the times that it had.
func (m *mover) setTimes(at *level, st file.Stat) error {
	if at.above == nil {
		return m.place.SetTimes(upper, st.Atime, st.Mtime)
	}
	return at.above.up.SetTimes(at.name, st.Atime, st.Mtime)
}

func (m *mover) entry(ctx context.Context, at *level, name string, depth int) error {
	st, err := at.up.Stat(name)
	if err != nil {
		return err
	}
	switch {
	case st.Type() == file.TypeDir && !st.MountRoot:
		return m.dir(ctx, at, name, depth)
	case st.Type() == file.TypeFile:
		p := path.Join(at.path, name)
		skipped := m.stays(p, st)
		if skipped == "" {
			went, err := m.file(at, name, st)
			if err != nil || went {
				m.each.Say(p, "")
				return err
			}
			skipped = unify.Noted
		}
		m.each.Say(p, skipped)
		m.moved.Left++
	}
	return at.clear(name)
}

// clear takes away what the private layer hides beneath.
func (at *level) clear(name string) error {
	if at.down == nil {
		return nil
	}
	return at.down.RemoveAll(name)
}

// dir goes into a directory of the private layer.
func (m *mover) dir(ctx context.Context, at *level, name string, depth int) error {
	up, err := at.up.Dir(name)
	if err != nil {
		return err
	}
	defer up.Close()
	next := &level{above: at, name: name, path: path.Join(at.path, name), up: up}
	elsewhere, err := next.notes()
	if err != nil {
		return err
	}
	if elsewhere { // it shows what is below another name
		return at.clear(name)
	}
	if err := m.meet(next); err != nil {
		return err
	}
	defer func() {
		if next.down != nil {
			next.down.Close()
		}
	}()
	return m.all(ctx, next, depth+1)
}

// notes reads what an overlay noted at a directory of the private layer: whether it hides
// what lower layers have, or shows what they have elsewhere.
func (at *level) notes() (elsewhere bool, err error) {
	e, err := at.up.SelfEntry()
	if err != nil {
		return false, err
	}
	defer e.Close()
	xs, err := e.Xattrs()
	for _, x := range xs {
		elsewhere = elsewhere || x.Name == "trusted.overlay.redirect"
	}
	if err == nil {
		at.opaque, err = layer.Opaque(e)
	}
	return elsewhere, err
}

// meet finds the directory beneath. What is there and hidden is taken away; a file that
// kept still lower layers from showing through hands that on first.
func (m *mover) meet(at *level) error {
	if at.above.down == nil {
		return nil
	}
	st, err := at.above.down.Stat(at.name)
	if err != nil {
		return file.Gone(err)
	}
	isDir := st.Type() == file.TypeDir
	if isDir && !at.opaque {
		at.down, err = at.above.down.Dir(at.name)
		return err
	}
	if !isDir && !at.opaque {
		if err := errors.Join(layer.Hide(at.above.up, at.name), m.settled()); err != nil {
			return err
		}
		at.opaque = true
	}
	return at.above.clear(at.name)
}

// beneath gives the directory beneath, which is made with all that the upper one has. An
// opaque one hands that on: what is beneath must be seen, and nothing lower.
func (m *mover) beneath(at *level) (*file.Dir, error) {
	if at.down != nil {
		return at.down, nil
	}
	parent, err := m.beneath(at.above)
	if err != nil {
		return nil, err
	}
	if err := parent.Mkdir(at.name, 0o700); err != nil {
		return nil, err
	}
	if at.down, err = parent.Dir(at.name); err != nil {
		return nil, err
	}
	from, err := at.up.SelfEntry()
	if err != nil {
		return nil, err
	}
	defer from.Close()
	to, err := at.down.SelfEntry()
	if err != nil {
		return nil, err
	}
	defer to.Close()
	st, err := from.Stat()
	if err == nil {
		err = m.shift().Dress(from, to, st) // its being opaque too
	}
	if err == nil && at.opaque {
		if m.apart {
			m.reveal = append(m.reveal, at.path)
		} else {
			err = layer.Reveal(from)
		}
		at.opaque = false
	}
	return at.down, err
}

// stays tells why a file cannot be beneath, if so.
func (m *mover) stays(path string, st file.Stat) (why string) {
	own := func(id uint32) bool { return id-m.base < guest.IDs } // unsigned: below is far above
	switch {
	case st.Size < unify.Smallest:
		return unify.TooSmall
	case st.Links != 1:
		return unify.Several
	case !own(st.UID) || !own(st.GID):
		return unify.Foreign
	case st.Sparse() || st.MountRoot:
		return unify.Noted
	case !m.wanted(path):
		return unify.Excluded
	}
	return ""
}

// file moves a file, and tells whether it could.
func (m *mover) file(at *level, name string, st file.Stat) (bool, error) {
	e, err := file.Readable(at.up, name)
	if err != nil {
		return false, err
	}
	defer e.Close()
	plain, ok, err := traits(e, st)
	if err != nil || !ok {
		return false, err
	}
	down, err := m.beneath(at)
	if err != nil {
		return false, err
	}
	switch {
	case m.apart:
		err = m.copy(at, down, name)
		m.copied = append(m.copied, path.Join(at.path, name))
	case plain:
		if err = rename(at.up, down, name); err == nil {
			err = m.given(e, st)
		}
	default:
		if err = m.copy(at, down, name); err == nil {
			err = at.up.Unlink(name)
		}
	}
	if err != nil {
		return false, err
	}
	m.moved.Files++
	m.moved.Bytes += st.Size
	return true, nil
}

// rename moves a name beneath, over what it hides there.
func rename(up, down *file.Dir, name string) error {
	err := up.Rename(name, down, name)
	if errors.Is(err, syscall.EISDIR) {
		if err = down.RemoveAll(name); err == nil {
			err = up.Rename(name, down, name)
		}
	}
	return err
}

// traits tells whether a file can go, and whether a rename and a chown are enough. The
// note of where it was copied up from is of no use any more.
func traits(e *file.Entry, st file.Stat) (plain, ok bool, err error) {
	xs, err := e.Xattrs()
	if err != nil {
		return false, false, err
	}
	const setID = syscall.S_ISUID | syscall.S_ISGID
	plain = st.Mode&setID == 0
	for _, x := range xs {
		switch {
		case x.Name == "trusted.overlay.origin":
			if err := e.RemoveXattr(x.Name); err != nil {
				return false, false, err
			}
		case layer.Note(x):
			return false, false, nil
		default:
			plain = false
		}
	}
	return plain, true, nil
}

// copy puts a copy of a file beneath its name.
func (m *mover) copy(at *level, down *file.Dir, name string) error {
	if err := m.own.RemoveAll(fresh); err != nil {
		return err
	}
	err := m.shift().File(at.up, name, m.own, fresh)
	if err == nil {
		err = m.kept()
	}
	if err == nil {
		err = at.clear(name)
	}
	if err == nil {
		err = m.own.Rename(fresh, down, name)
	}
	if err != nil {
		return errors.Join(err, file.Gone(m.own.Unlink(fresh)))
	}
	return nil
}

// kept takes the copy out of the guest's project, and has it on the disk before the name that it
// will be beneath goes: now, or with all others.
func (m *mover) kept() error {
	f, err := m.own.Open(fresh, os.O_RDONLY, fs.ModePerm)
	if err != nil {
		return err
	}
	err = leave(f)
	if !m.apart {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close())
}
