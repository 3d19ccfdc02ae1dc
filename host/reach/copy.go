package reach

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"vserver/kernel/file"
	"vserver/layer"
)

// entry copies what has a name in a directory; at is where it was found, for messages.
func (c *copying) entry(from *file.Dir, name string, to *file.Dir, as, at string, depth int) error {
	e, err := from.Entry(name)
	if err != nil {
		return about(c.src.name, err)
	}
	defer e.Close()
	st, err := e.Stat()
	if err != nil {
		return about(c.src.name, err)
	}
	switch st.Type() {
	case file.TypeFile:
		key := inode{st.Dev, st.Ino}
		if first, ok := c.links[key]; ok && c.link(first, to, as) == nil {
			return nil
		}
		if err := c.file(e, st, to, as, at); err != nil {
			return err
		}
		if c.options.Archive && st.Links > 1 {
			c.links[key] = path.Join(strings.TrimPrefix(to.Path(), c.top.Path()), as)
		}
		return nil
	case file.TypeLink:
		target, err := from.Readlink(name)
		if err != nil {
			return about(c.src.name, err)
		}
		return about(c.dst.name, file.Put(to, as, func(temp string) error {
			if err := to.Symlink(target, temp); err != nil {
				return err
			}
			return c.dressed(e, st, to, temp)
		}))
	case file.TypeDir:
		if st.MountRoot && depth > 0 {
			return c.omit(at, "something else is mounted there")
		}
		sub, err := from.Dir(name)
		if err != nil {
			return about(c.src.name, err)
		}
		defer sub.Close()
		return c.tree(sub, to, as, at, depth)
	}
	return c.omit(at, "is "+kindOf(st))
}

// tree copies a directory.
func (c *copying) tree(from, to *file.Dir, as, at string, depth int) error {
	st, err := from.Self()
	if err != nil {
		return about(c.src.name, err)
	}
	if c.made != nil && c.made.Dev == st.Dev && c.made.Ino == st.Ino {
		return c.omit(at, "is the copy itself")
	}
	err = to.Mkdir(as, 0o700)
	fresh := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return about(c.dst.name, err)
	}
	sub, err := to.Dir(as)
	if err == nil {
		defer sub.Close()
		err = c.enters(sub)
	}
	if err != nil {
		return about(c.dst.name, err)
	}
	if c.made == nil {
		now, err := sub.Self()
		if err != nil {
			return about(c.dst.name, err)
		}
		c.made = &now
	}
	if err := c.below(from, sub, at, depth); err != nil {
		return err
	}
	if !fresh && !c.options.Archive {
		return nil
	}
	a, err := from.SelfEntry()
	if err != nil {
		return about(c.src.name, err)
	}
	defer a.Close()
	b, err := sub.SelfEntry()
	if err != nil {
		return about(c.dst.name, err)
	}
	defer b.Close()
	return about(c.dst.name, c.dress(a, b, st))
}

// below copies what is in a directory.
func (c *copying) below(from, to *file.Dir, at string, depth int) error {
	st, err := from.Self()
	if err == nil {
		err = c.src.check(at, st, mayRead|mayPass)
	}
	if err != nil {
		return about(c.src.name, err)
	}
	return layer.Each(c.ctx, "copy", from, depth, func(name string) error {
		err := c.entry(from, name, to, name, path.Join(at, name), depth+1)
		if _, gone := from.Stat(name); errors.Is(err, fs.ErrNotExist) && errors.Is(gone, fs.ErrNotExist) {
			return nil // a guest that runs goes on
		}
		return err
	})
}

// link gives a file that was copied already one more name.
func (c *copying) link(first string, to *file.Dir, as string) error {
	at, old, err := c.top.Parent(first)
	if err != nil {
		return err
	}
	defer at.Close()
	return file.Put(to, as, func(temp string) error { return at.Link(old, to, temp) })
}

// file copies a regular file.
func (c *copying) file(e *file.Entry, st file.Stat, to *file.Dir, as, at string) error {
	if err := c.src.check(at, st, mayRead); err != nil {
		return about(c.src.name, err)
	}
	in, err := e.Open()
	if err != nil {
		return about(c.src.name, err)
	}
	defer in.Close()
	draft, err := c.draft(to)
	if err != nil {
		return about(c.dst.name, err)
	}
	defer draft.Discard()
	if st.Size == 0 {
		err = c.pass(draft, io.LimitReader(in, sizeless), at)
	} else {
		err = file.CopyDataTold(draft.File, in, func(n int64) error { return c.tell(at, n) })
	}
	if err != nil {
		return about(c.dst.name, err)
	}
	be, err := file.EntryOf(draft.File)
	if err != nil {
		return err
	}
	defer be.Close()
	if err := c.dress(e, be, st); err != nil {
		return about(c.dst.name, err)
	}
	return about(c.dst.name, c.place(draft, as))
}

// place gives a file its name, unless all has ended meanwhile.
func (c *copying) place(draft *draft, as string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	return draft.Place(as)
}

func (c *copying) dressed(e *file.Entry, st file.Stat, to *file.Dir, name string) error {
	be, err := to.Entry(name)
	if err != nil {
		return err
	}
	defer be.Close()
	if err := c.dress(e, be, st); err != nil || !c.options.Archive {
		return err
	}
	return to.SetTimes(name, st.Atime, st.Mtime)
}

// Bits that are copied: without Archive, as cp does it for who lets only the owner write.
// What is the guest's becomes no set-id program of the host's.
const (
	usualBits = 0o755
	hostBits  = 0o777
)

// dress gives a copy what it has beside its content.
func (c *copying) dress(e, be *file.Entry, st file.Stat) error {
	link := st.Type() == file.TypeLink
	if !c.options.Archive {
		if link {
			return c.own(be)
		}
		return c.plainly(be, st.Perm()&usualBits)
	}
	perm := st.Perm()
	if c.dst.name == "" {
		perm &= hostBits
	}
	shift := c.shift()
	if err := be.Chown(shift.ID(st.UID), shift.ID(st.GID)); err != nil {
		return err
	}
	if c.options.Owner != "" {
		if err := c.own(be); err != nil {
			return err
		}
	}
	if link {
		return nil
	}
	if err := c.attributes(e, be); err != nil {
		return err
	}
	if c.options.Mode != nil && st.Type() == file.TypeFile {
		perm = *c.options.Mode
	}
	if err := be.Chmod(perm); err != nil {
		return err
	}
	return be.SetTimes(st.Atime, st.Mtime)
}

// attributes gives a copy the extended attributes that can go there: capabilities do not
// go to the host, nor any to a file system that has none.
func (c *copying) attributes(e, be *file.Entry) error {
	xs, err := e.Xattrs()
	if err != nil {
		return err
	}
	for _, x := range xs {
		if layer.Note(x) || c.dst.name == "" && x.Name == "security.capability" {
			continue
		}
		x, ok, err := c.shift().Xattr(x)
		if err == nil && ok {
			err = be.SetXattr(x.Name, x.Value)
		}
		if err != nil && !errors.Is(err, syscall.ENOTSUP) {
			return err
		}
	}
	return nil
}

// own gives a copy in a guest to who was asked for.
func (c *copying) own(be *file.Entry) error {
	if c.owner == nil {
		return nil
	}
	uid, gid := c.dst.base+c.owner.UID, c.dst.base+c.owner.GID
	if st, err := be.Stat(); err != nil || st.UID == uid && st.GID == gid {
		return err
	}
	return be.Chown(uid, gid)
}

// plainly gives a copy its owner and permission bits.
func (c *copying) plainly(be *file.Entry, perm uint32) error {
	if c.options.Mode != nil {
		if st, err := be.Stat(); err != nil || st.Type() == file.TypeFile {
			perm = *c.options.Mode
		}
	}
	err := c.own(be)
	if err == nil {
		err = be.Chmod(perm)
	}
	if errors.Is(err, syscall.EPERM) {
		return errors.Join(err, foreign())
	}
	return err
}
