// Package beneath moves files of a stopped guest out of its private layer into one beneath
// it, whose files have ids from 0 as those of images have, and so can be one with them; and
// back. A guest's directory has meanwhile:
//
//	upper         the private layer: owners are the guest's ids on the host
//	.unifying     the mark that files are on their way beneath
//	.unified-new  a copy on its way
//
// A file goes by one rename and gets its ids from 0 by one chown. In between it is in the
// lower layer with ids that the guest does not have: who is killed there leaves the mark,
// and Recover, which everybody calls who has found it, chowns what is left. A file that a
// chown would take something from, or that has attributes with ids in them, is copied
// beneath its name first, and the name then taken away. Either way the guest's tree is the
// same at any moment, since a name of the private layer hides the same one beneath.
//
// A private layer in an image or on a device (package quota/sized) is on another file system: all
// its files are copied, the copies are brought to the disk, and the names are taken away then.
//
// The private layer must be no part of a mounted overlay: what comes of changes beneath one
// the kernel leaves undefined (Documentation/filesystems/overlayfs.rst, "Changes to underlying
// filesystems"). A file that the guest has looked at it goes on writing to wherever it is
// moved, and so to an object, or to one that lost its name to an object (tried on 6.18).
package beneath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/kernel/mount"
	"vserver/kernel/quota"
	"vserver/layer"
)

const (
	upper = "upper"
	mark  = ".unifying"
	fresh = ".unified-new"
	// deepest is how many directories may be one in another: each is held open, in both.
	deepest = 200
)

// Layer is a guest's private layer and the one beneath it, open.
type Layer struct {
	own   *file.Dir // the guest's directory
	place *file.Dir // where the private layer is: that, or the root of an image
	up    *file.Dir
	down  *file.Dir
	base  uint32
	apart bool // up and down are on two file systems
}

// Open opens the layers of a guest: dir is its directory, at where its private layer is (that too,
// or the root of its image), base its first id on the host, and down the tree beneath. The guest is stopped and locked; guest.ErrBusy when its overlay is
// there all the same, since somebody outside of it holds a file of its. What a killed one
// left on its way is brought to its place.
func Open(dir, at string, base uint32, down string) (*Layer, error) {
	if err := Recover(dir, base, down); err != nil {
		return nil, err
	}
	l := &Layer{base: base, apart: at != dir}
	var err error
	if l.own, err = file.OpenDir(dir); err != nil {
		return nil, err
	}
	if l.place, err = file.OpenDir(at); err == nil {
		l.up, err = l.place.Dir(upper)
	}
	if err == nil {
		err = unused(l.up)
	}
	if err == nil {
		l.down, err = file.OpenDir(down)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// lingers bounds how long an overlay is waited for whose guest has ended: the kernel
// takes a mount namespace down some time after its last process.
const lingers = 5 * time.Second

// Unused gives guest.ErrBusy while an overlay has the private layer that is at a directory,
// as Open does; a guest without one has no overlay.
func Unused(at string) error {
	up, err := file.OpenDir(filepath.Join(at, upper)) //house:allow the directory itself is not the guest's
	if err != nil {
		return file.Gone(err)
	}
	return errors.Join(unused(up), up.Close())
}

// unused refuses an upper directory that an overlay has.
func unused(up *file.Dir) error {
	f, err := up.File()
	if err != nil {
		return err
	}
	defer f.Close()
	used, err := mount.UpperInUse(f)
	for end := time.Now().Add(lingers); used && err == nil && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		used, err = mount.UpperInUse(f)
	}
	if err == nil && used {
		err = fmt.Errorf("%s: is mounted, or a process outside of the guest has a file of it open: %w", up.Path(), guest.ErrBusy)
	}
	return err
}

// Close closes the layers.
func (l *Layer) Close() error {
	var err error
	for _, d := range []*file.Dir{l.own, l.place, l.up, l.down} {
		if d != nil {
			err = errors.Join(err, d.Close())
		}
	}
	return err
}

// Upper is the private layer.
func (l *Layer) Upper() *file.Dir { return l.up }

// begin says that files are on their way.
func (l *Layer) begin() error {
	f, err := l.own.Open(mark, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// leave takes a file out of its project, on file systems that have projects.
func leave(f quota.Opened) error {
	if err := quota.LeaveProject(f); !errors.Is(err, quota.ErrNoProjects) {
		return err
	}
	return nil
}

func (l *Layer) end() error { return file.Gone(l.own.Unlink(mark)) }

// shift is what makes ids of the private layer those of the one beneath.
func (l *Layer) shift() layer.Shift { return layer.Shift{From: l.base} }

// Left tells whether files of the guest whose own are at dir were on their way when somebody
// was killed.
func Left(dir string) (bool, error) {
	return file.Exists(filepath.Join(dir, mark)) //house:allow beside the guest's files, out of its reach
}

// Recover brings them to their place.
func Recover(dir string, base uint32, down string) error {
	own, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer own.Close()
	l := &Layer{own: own, base: base}
	if err := own.RemoveAll(fresh); err != nil {
		return err
	}
	if l.down, err = file.OpenDir(down); err != nil {
		return err
	}
	defer l.down.Close()
	if err := l.settle(l.down, 0); err != nil {
		return err
	}
	return l.end()
}

// settle gives files that have the guest's ids those from 0.
func (l *Layer) settle(d *file.Dir, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%s: more than %d directories deep", d.Path(), deepest)
	}
	items, err := file.Items(d)
	if err != nil {
		return err
	}
	for _, it := range items {
		st, err := d.Stat(it.Name)
		switch {
		case err != nil:
			return err
		case st.Type() == file.TypeDir:
			sub, err := d.Dir(it.Name)
			if err != nil {
				return err
			}
			if err := errors.Join(l.settle(sub, depth+1), sub.Close()); err != nil {
				return err
			}
		case st.UID >= guest.IDs || st.GID >= guest.IDs:
			if err := l.adopt(d, it.Name, st); err != nil {
				return err
			}
		}
	}
	return nil
}

// adopt gives a file that is in the layer beneath its ids from 0.
func (l *Layer) adopt(d *file.Dir, name string, st file.Stat) error {
	e, err := file.Readable(d, name)
	if err != nil {
		return err
	}
	defer e.Close()
	return l.given(e, st)
}

// given gives an open file its ids from 0.
func (l *Layer) given(e *file.Entry, st file.Stat) error {
	if err := leave(e); err != nil {
		return err
	}
	s := l.shift()
	return e.Chown(s.ID(st.UID), s.ID(st.GID))
}
