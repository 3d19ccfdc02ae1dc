package sized

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vserver/kernel/file"
)

// On a device, trees that are being made, and trees that are to take the place of those that
// are there: one rename decides.
const (
	fresh  = ".fresh"
	coming = ".coming"
)

// trees are those of a guest, where its image or device has its root.
var trees = []string{"upper", "work", "shared"}

// Renew puts trees that fill makes in a directory in the place of those on the device of the
// guest whose directory this is, and gives it another list of layers (package stack) with them.
// The guest does not run. Who is killed has done both or neither, and Sweep finishes it.
func Renew(dir string, layers []byte, fill func(at string) error) error {
	d, root, err := opened(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	defer root.Close()
	err = note(dir, layers)
	if err == nil {
		err = root.RemoveAll(fresh)
	}
	if err == nil {
		err = root.Mkdir(fresh, 0o700)
	}
	if err == nil {
		err = fill(filepath.Join(d.Path(), fresh))
	}
	if err == nil {
		err = d.sync()
	}
	if err == nil {
		err = root.Rename(fresh, root, coming)
	}
	if err != nil {
		return errors.Join(err, root.RemoveAll(fresh), file.Forget(renewal(dir)))
	}
	return come(dir, d, root)
}

// renewal is the list of layers that goes with what is coming, if anything is.
func renewal(dir string) string { return filepath.Join(dir, ".renewing") }

// note writes that. It is on its disk before anything is on the device, which is another.
func note(dir string, layers []byte) error {
	d, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	f, err := os.Create(renewal(dir))
	if err != nil {
		return err
	}
	_, err = f.Write(layers)
	return errors.Join(err, f.Sync(), f.Close(), file.Sync(d))
}

// opened is Open with the root directory.
func opened(dir string) (*Disk, *file.Dir, error) {
	d, err := Open(dir)
	if err != nil {
		return nil, nil, err
	}
	root, err := file.OpenDir(d.Path())
	if err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	return d, root, nil
}

// come has trees take their places, as far as they have not, and then the list. Each is on its
// disk before the next.
func come(dir string, d *Disk, root *file.Dir) error {
	from, err := root.Dir(coming)
	if err != nil {
		return err
	}
	defer from.Close()
	for _, tree := range trees {
		if _, err := from.Stat(tree); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := root.RemoveAll(tree); err != nil {
			return err
		}
		if err := from.Rename(tree, root, tree); err != nil {
			return err
		}
	}
	own, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer own.Close()
	if err := d.sync(); err != nil {
		return err
	}
	if err := os.Rename(renewal(dir), filepath.Join(dir, "layers")); err != nil {
		return err
	}
	if err := file.Sync(own); err != nil {
		return err
	}
	return root.RemoveAll(coming)
}

// renewed finishes what somebody was killed over on a device.
func renewed(dir string) error {
	if there, err := file.Exists(renewal(dir)); err != nil || !there {
		return err
	}
	d, root, err := opened(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	defer root.Close()
	if _, err := root.Stat(coming); err == nil {
		return come(dir, d, root)
	}
	if err := root.RemoveAll(fresh); err != nil {
		return err
	}
	return file.Forget(renewal(dir))
}
