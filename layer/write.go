package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"vserver/kernel/file"
)

// Write makes or replaces a regular file, with owner ids as the guest knows them.
// What was there by that name, a symbolic link too, is replaced, not written to;
// directories on the way are made as the lower layers have them, else 0755 and root's.
func (r *Root) Write(p string, content []byte, perm, uid, gid uint32) error {
	dir, name, err := r.parent(p)
	if err != nil {
		return err
	}
	defer dir.Close()
	const tmp = ".vserver-new"
	f, err := dir.Open(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err := dir.RemoveAll(tmp); err != nil {
			return err
		}
		f, err = dir.Open(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && len(content) > 0 {
		err = file.Flush(f)
	}
	if err == nil {
		err = file.Give(f, r.base+uid, r.base+gid, perm)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, dir.Unlink(tmp))
	}
	return dir.Rename(tmp, dir, name)
}

// Mkdir makes a directory unless there is one, and gives it the owner and the
// permission bits either way.
func (r *Root) Mkdir(p string, perm, uid, gid uint32) error {
	dir, err := r.upper(path.Clean(p))
	if err != nil {
		return err
	}
	defer dir.Close()
	e, err := dir.SelfEntry()
	if err != nil {
		return err
	}
	defer e.Close()
	r.forget(path.Clean(p))
	return errors.Join(e.Chown(r.base+uid, r.base+gid), e.Chmod(perm))
}

// Remove takes a file or directory away: out of the guest's own layer, and hidden by
// a whiteout when a lower layer has it. What is not there is no error.
func (r *Root) Remove(p string) error {
	_, err := r.walk(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, name, err := r.parent(p)
	if err != nil {
		return err
	}
	defer dir.Close()
	r.forget(path.Clean(p))
	if err := dir.RemoveAll(name); err != nil {
		return err
	}
	_, err = r.walk(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.forget(path.Clean(p))
	return dir.Mknod(name, file.TypeChar, 0)
}

// parent gives the directory of p in the writable layer, and the last name of p.
func (r *Root) parent(p string) (*file.Dir, string, error) {
	dir, name := path.Split(path.Clean(p))
	d, err := r.upper(path.Clean(dir))
	return d, name, err
}

// upper opens the directory p in the writable layer, where it is made, with those
// above it, when only the lower ones have it or none.
func (r *Root) upper(p string) (*file.Dir, error) {
	if n := r.known[p]; n != nil && n.at == 0 {
		return n.dirs[0].Again()
	}
	at, err := r.dirs[0].Again()
	if err != nil || p == "." {
		return at, err
	}
	names := strings.Split(p, "/")
	for i, name := range names {
		next, err := r.descend(at, strings.Join(names[:i+1], "/"), name)
		at.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		at = next
	}
	return at, nil
}

// descend opens the directory name of at, whose path from the root is p, in the
// writable layer.
func (r *Root) descend(at *file.Dir, p, name string) (*file.Dir, error) {
	last, err := r.walk(p)
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return nil, err
	}
	if gone {
		return r.fresh(at, name)
	}
	switch {
	case !last.isDir():
		return nil, last.odd()
	case last.at == 0:
		return at.Dir(name)
	}
	defer r.forget(p) // the writable layer has it from now on
	if err := at.Mkdir(name, 0o700); err != nil {
		return nil, err
	}
	st := last.st
	from, err := last.dirs[last.at].SelfEntry()
	if err != nil {
		return nil, err
	}
	defer from.Close()
	to, err := at.Entry(name)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	if err := copyMeta(from, to, st, Shift{r.bases[last.at], r.base}); err != nil {
		return nil, err
	}
	return at.Dir(name)
}

// fresh makes a directory that no layer shows; over a whiteout it is opaque, or what
// the whiteout hides would come back.
func (r *Root) fresh(at *file.Dir, name string) (*file.Dir, error) {
	st, err := at.Stat(name)
	hidden := err == nil && st.Whiteout()
	if hidden {
		if err := at.Unlink(name); err != nil {
			return nil, err
		}
	}
	if err := at.Mkdir(name, 0o755); err != nil {
		return nil, err
	}
	if err := own(at, name, r.base, r.base, 0o755); err != nil {
		return nil, err
	}
	if hidden {
		if err := Hide(at, name); err != nil {
			return nil, err
		}
	}
	return at.Dir(name)
}

// Hide makes a directory of an upper layer opaque: what lower layers have there is
// not seen.
func Hide(d *file.Dir, name string) error {
	e, err := d.Entry(name)
	if err != nil {
		return err
	}
	defer e.Close()
	return e.SetXattr(opaque, []byte("y"))
}

func own(d *file.Dir, name string, uid, gid, perm uint32) error {
	e, err := d.Entry(name)
	if err != nil {
		return err
	}
	defer e.Close()
	return errors.Join(e.Chown(uid, gid), e.Chmod(perm))
}
