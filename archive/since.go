package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"vserver/kernel/file"
	"vserver/layer"
)

// goneRecord says that what is there by this name goes, for an Unpacker that is Over.
const goneRecord = "VSERVER.gone"

// Since writes what there is to do to a tree that is like old, whose owners' numbers in the
// archive was gives, for it to be like d: an Unpacker that is Whole and Over does it.
// Contents are compared, and times, and which names are one file. Both trees stay as they
// are meanwhile.
func (p *Packer) Since(ctx context.Context, w io.Writer, d, old *file.Dir, was layer.Shift) error {
	p.w, p.links = tar.NewWriter(w), map[inode]string{}
	p.buf = make([]byte, 256<<10)
	if err := p.self(d); err != nil {
		return err
	}
	s := &since{p: p, was: was, old: map[inode]string{}, sent: map[string]bool{}}
	if err := s.dir(ctx, d, old, "", 0, func() error { return nil }); err != nil {
		return err
	}
	return p.w.Close()
}

// since is two trees being compared.
type since struct {
	p    *Packer
	was  layer.Shift
	old  map[inode]string // paths of files with several names in the old tree
	sent map[string]bool  // which of the first names of files of the new one were written
}

// pair is what is by one name in both directories.
type pair struct {
	name, at string
	d, old   *file.Dir
	e, o     *file.Entry // nil for nothing
	st, ost  file.Stat
}

func (x *pair) close() {
	for _, e := range []*file.Entry{x.e, x.o} {
		if e != nil {
			e.Close()
		}
	}
}

// dir compares two directories. head writes the new one's header before the first entry
// that changes it, since that gives it another time where it is unpacked.
func (s *since) dir(ctx context.Context, d, old *file.Dir, at string, depth int, head func() error) error {
	if depth > deepest {
		return errDeep
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	more, err := old.Names()
	if err != nil {
		return err
	}
	names = append(names, more...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.p.Tell != nil {
			s.p.Tell(s.p.entries, s.p.bytes)
		}
		if err := s.entry(ctx, d, old, name, path.Join(at, name), depth, head); err != nil {
			return err
		}
	}
	return nil
}

// deepest is how deep trees may be, as package layer has it.
const deepest = 2048

var errDeep = errors.New("compare: more than 2048 directories deep")

func (s *since) entry(ctx context.Context, d, old *file.Dir, name, at string, depth int, head func() error) error {
	x := &pair{name: name, at: at, d: d, old: old}
	defer x.close()
	var err error
	if x.e, x.st, err = look(d, name); err != nil {
		return err
	}
	if x.o, x.ost, err = look(old, name); err != nil {
		return err
	}
	switch {
	case x.e == nil:
		return s.gone(x, head)
	case x.o != nil && x.st.Type() == file.TypeDir && x.ost.Type() == file.TypeDir:
		return s.both(ctx, x, depth, head)
	case x.o != nil && x.st.Type() == x.ost.Type():
		stays, err := s.stays(x)
		if err != nil || stays {
			return err
		}
	case x.o != nil:
		if err := s.gone(x, head); err != nil {
			return err
		}
	}
	s.sent["./"+at] = true
	if err := head(); err != nil {
		return err
	}
	return s.p.entry(ctx, d, name, at, depth)
}

// look gives a handle on an entry, nil for none.
func look(d *file.Dir, name string) (*file.Entry, file.Stat, error) {
	e, err := d.Entry(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, file.Stat{}, nil
	}
	if err != nil {
		return nil, file.Stat{}, err
	}
	st, err := e.Stat()
	return e, st, err
}

func (s *since) gone(x *pair, head func() error) error {
	if err := head(); err != nil {
		return err
	}
	s.p.entries++
	return s.p.w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: "./" + x.at, Mode: 0o600, Format: tar.FormatPAX,
		PAXRecords: map[string]string{goneRecord: "1"},
	})
}

// both compares what is below two directories, and the two.
func (s *since) both(ctx context.Context, x *pair, depth int, above func() error) error {
	written := false
	head := func() error {
		if written {
			return nil
		}
		written = true
		return s.p.head(x.e, x.st, &tar.Header{Typeflag: tar.TypeDir, Name: "./" + x.at + "/"})
	}
	same, err := s.same(x)
	if err != nil {
		return err
	}
	if !same {
		if err := head(); err != nil {
			return err
		}
	}
	if x.st.MountRoot {
		return nil
	}
	sub, err := x.d.Dir(x.name)
	if err != nil {
		return err
	}
	defer sub.Close()
	old, err := x.old.Dir(x.name)
	if err != nil {
		return err
	}
	defer old.Close()
	return s.dir(ctx, sub, old, x.at, depth+1, head)
}

// stays tells whether a file need not be written.
func (s *since) stays(x *pair) (bool, error) {
	own, key, was := "./"+x.at, inode{x.st.Dev, x.st.Ino}, inode{x.ost.Dev, x.ost.Ino}
	first, is := s.p.links[key]
	if !is {
		first = own
	}
	before, had := s.old[was]
	if !had {
		before = own
		if x.ost.Links > 1 {
			s.old[was] = own
		}
	}
	if first != before || first != own && s.sent[first] {
		return false, nil
	}
	if first != own {
		return true, nil
	}
	same, err := s.same(x)
	if same && x.st.Links > 1 {
		s.p.links[key] = own
	}
	return same, err
}

// same compares two entries of one type, without what is below directories.
func (s *since) same(x *pair) (bool, error) {
	p, a, b := s.p, x.st, x.ost
	if a.Mode != b.Mode || a.Mtime != b.Mtime || a.Rdev != b.Rdev ||
		p.Shift.ID(a.UID) != s.was.ID(b.UID) || p.Shift.ID(a.GID) != s.was.ID(b.GID) {
		return false, nil
	}
	if a.Type() == file.TypeLink {
		to, err := x.d.Readlink(x.name)
		if err != nil {
			return false, err
		}
		old, err := x.old.Readlink(x.name)
		return to == old, err
	}
	xs, err := xattrs(x.e, p.Shift)
	if err != nil {
		return false, err
	}
	old, err := xattrs(x.o, s.was)
	if err != nil || !slices.EqualFunc(xs, old, func(a, b file.Xattr) bool { return a.Name == b.Name && bytes.Equal(a.Value, b.Value) }) {
		return false, err
	}
	if a.Type() != file.TypeFile || a.Dev == b.Dev && a.Ino == b.Ino {
		return true, nil
	}
	if a.Size != b.Size {
		return false, nil
	}
	return layer.SameContent(x.d, x.name, x.old, x.name)
}

// xattrs are those of an entry that an archive has, sorted.
func xattrs(e *file.Entry, s layer.Shift) (out []file.Xattr, err error) {
	xs, err := e.Xattrs()
	if err != nil {
		return nil, err
	}
	for _, x := range xs {
		x, ok, err := s.Xattr(x)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b file.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// remove does what goneRecord says, and tells whether it was said.
func (u *Unpacker) remove(d *file.Dir, name, p string, h *tar.Header) (bool, error) {
	if _, gone := h.PAXRecords[goneRecord]; !gone || !u.Whole {
		return false, nil
	}
	if _, own := u.here[p]; own || !u.Over || h.Size > 0 {
		return true, hostile(h.Name, "goes, which was never there")
	}
	u.forget()
	return true, d.RemoveAll(name)
}

// bare takes away the attributes of a directory that is there.
func (u *Unpacker) bare(e *file.Entry) error {
	xs, err := e.Xattrs()
	if err != nil {
		return err
	}
	for _, x := range xs {
		if _, ok, _ := (layer.Shift{}).Xattr(x); ok {
			if err := e.RemoveXattr(x.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
