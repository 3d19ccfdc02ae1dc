package making

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vserver/guest"
	"vserver/host/files"
	"vserver/kernel/file"
	"vserver/store"
)

// noted is the file of a deletion that names the tree which the guest has outside of
// our directories (root.path): the deletion may be finished when the spec is gone.
func noted(d guest.Dirs, n guest.Name) string { return filepath.Join(staging(d, n), "tree") }

// noteTree writes it, unless another guest's tree is the same, in it or around it: that
// goes with the last of them.
func noteTree(d guest.Dirs, n guest.Name) error {
	spec, err := store.Load(d.Spec(n))
	if err != nil || spec.Root.Path == "" {
		return nil // one that cannot be read keeps its tree, wherever that is
	}
	if shared, err := files.SharesTree(d, n, spec.Root.Path); shared || err != nil {
		return err
	}
	return os.WriteFile(noted(d, n), []byte(spec.Root.Path), 0o600)
}

// removeTree removes that tree, following no link, and then the note.
func removeTree(d guest.Dirs, n guest.Name) error {
	text, err := os.ReadFile(noted(d, n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	at, err := file.OpenDir(filepath.Dir(string(text)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		err = at.RemoveAll(filepath.Base(string(text)))
		at.Close()
	}
	return errors.Join(err, os.Remove(noted(d, n)))
}
