package quota

import (
	"context"
	"errors"
	"fmt"
	"os"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/kernel/quota"
)

// Adopt puts all of a directory into the project of guest x, which must not run: after
// the guest was copied to this file system, or when it was built before that had projects.
// It reads every directory, but no file's content. It may be killed and done again; the
// directory itself, by which Open knows, comes last.
//
// Symbolic links, sockets, fifos, devices and the whiteouts of an overlay can be given no
// project by most kernels, and an overlay cannot work with those of another one. So they
// are made anew under their names.
func Adopt(ctx context.Context, path string, x guest.XID) error {
	dir, err := file.OpenDir(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	w := walker{ctx: ctx, project: x.Project()}
	if err := w.entries(dir); err != nil {
		return err
	}
	return w.own(dir)
}

// fresh is the name under which a file is made anew. It cannot be of use to the guest,
// which does not run.
const fresh = ".vserver-adopted"

type walker struct {
	ctx     context.Context
	project uint32
}

// own puts a directory itself into the project.
func (w walker) own(dir *file.Dir) error {
	f, err := dir.File()
	if err != nil {
		return err
	}
	defer f.Close()
	return quota.SetProject(f, w.project)
}

func (w walker) entries(dir *file.Dir) error {
	names, err := dir.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.entry(dir, name); err != nil {
			return err
		}
	}
	return nil
}

func (w walker) entry(dir *file.Dir, name string) error {
	st, err := dir.Stat(name)
	if err != nil {
		return err
	}
	if st.MountRoot {
		return fmt.Errorf("%s/%s: something is mounted there: %w", dir.Path(), name, guest.ErrBusy)
	}
	switch st.Type() {
	case file.TypeDir:
		return w.tree(dir, name, st)
	case file.TypeFile:
		f, err := dir.Open(name, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return quota.SetProject(f, w.project)
	}
	return anew(dir, name, st)
}

func (w walker) tree(dir *file.Dir, name string, st file.Stat) error {
	sub, err := dir.Dir(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := w.own(sub); err != nil {
		return err
	}
	if err := w.entries(sub); err != nil {
		return err
	}
	return dir.SetTimes(name, st.Atime, st.Mtime)
}

// anew makes a file that has no content under its own name, in a directory that is in the
// project already.
func anew(dir *file.Dir, name string, st file.Stat) error {
	if name == fresh {
		return dir.Unlink(name) // of an Adopt that was killed
	}
	err := dir.Unlink(fresh)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if st.Type() == file.TypeLink {
		target, err := dir.Readlink(name)
		if err != nil {
			return err
		}
		if err := dir.Symlink(target, fresh); err != nil {
			return err
		}
	} else if err := dir.Mknod(fresh, st.Mode, st.Rdev); err != nil {
		return err
	}
	if err := alike(dir, name, st); err != nil {
		return errors.Join(err, dir.Unlink(fresh))
	}
	return dir.Rename(fresh, dir, name)
}

// alike gives the new file the old one's owner, rights, attributes and times.
func alike(dir *file.Dir, name string, st file.Stat) error {
	from, err := dir.Entry(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := dir.Entry(fresh)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := to.Chown(st.UID, st.GID); err != nil {
		return err
	}
	if st.Type() != file.TypeLink {
		if err := to.Chmod(st.Perm()); err != nil {
			return err
		}
	}
	attrs, err := from.Xattrs()
	if err != nil {
		return err
	}
	for _, a := range attrs {
		if err := to.SetXattr(a.Name, a.Value); err != nil {
			return err
		}
	}
	return dir.SetTimes(fresh, st.Atime, st.Mtime)
}
