package build

import (
	"errors"
	"fmt"
	"time"

	"vserver/kernel/file"
)

// What packages bring has the time that its maker gave it, what their scripts wrote that of the
// installation: two installations of the same packages have two hundred files that are equal but
// for that, and are on the disk twice.

// deepest is how many directories of an installation may be one in another.
const deepest = 200

// level gives all that was written since begun the time of the newest file from before. Empty
// files, whose time may be all that they say, keep theirs, and so do directories, which caches
// are held against.
func level(root *file.Dir, begun time.Time) error {
	since := begun.Add(-time.Second).UnixNano() // the kernel's clock for files is a little late
	newest := int64(0)
	err := files(root, 0, func(_ *file.Dir, _ string, st file.Stat) error {
		if st.Mtime < since {
			newest = max(newest, st.Mtime)
		}
		return nil
	})
	if err != nil || newest == 0 {
		return err
	}
	return files(root, 0, func(d *file.Dir, name string, st file.Stat) error {
		if st.Mtime < since || st.Size == 0 || name == ".updated" { // systemd-update-done.service(8)
			return nil
		}
		return d.SetTimes(name, st.Atime, newest)
	})
}

// files calls each for all regular files below d.
func files(d *file.Dir, depth int, each func(d *file.Dir, name string, st file.Stat) error) error {
	if depth > deepest {
		return fmt.Errorf("%s: more than %d directories deep", d.Path(), deepest)
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		st, err := d.Stat(name)
		if err != nil {
			return err
		}
		switch {
		case st.MountRoot:
		case st.Type() == file.TypeFile:
			err = each(d, name, st)
		case st.Type() == file.TypeDir:
			var sub *file.Dir
			if sub, err = d.Dir(name); err == nil {
				err = errors.Join(files(sub, depth+1, each), sub.Close())
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
