package files

import (
	"errors"
	"os"
	"path"
	"path/filepath"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/layer"
)

// deepest is how far below /var/run leftovers are looked for.
const deepest = 16

// Sweep removes what an earlier run of a guest of style sysv left in /var/run and
// /var/lock, where these are directories of its own: a file with the pid of a daemon keeps
// that from being started. Directories stay. The guest does not run.
func Sweep(d guest.Dirs, n guest.Name, spec *guest.Spec) error {
	root, err := Root(d, spec, d.Guest(n))
	if err != nil {
		return err
	}
	defer root.Close()
	for _, dir := range []string{"var/run", "var/lock"} {
		if err := sweep(root, dir, 0); err != nil && !errors.Is(err, layer.ErrOdd) {
			return err
		}
	}
	return nil
}

func sweep(root *layer.Root, dir string, depth int) error {
	names, err := root.Names(dir)
	if err != nil || depth > deepest {
		return err
	}
	for _, name := range names {
		at := path.Join(dir, name)
		st, err := root.Stat(at)
		if err != nil {
			return err
		}
		if st.Type() == file.TypeDir {
			err = sweep(root, at, depth+1)
		} else {
			err = root.Remove(at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Exposed gives the directory by whose mode users of the host get at a tree with ids from
// 0, in which a set-user-ID program of the guest's root is the host's; "" when one above
// it keeps them out.
func Exposed(spec *guest.Spec) string {
	if !spec.Root.IDMap {
		return ""
	}
	tree, err := filepath.EvalSymlinks(spec.Root.Path)
	if err != nil {
		return ""
	}
	for dir := tree; dir != "/"; {
		dir = filepath.Dir(dir)
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return ""
		}
	}
	return filepath.Dir(tree)
}
