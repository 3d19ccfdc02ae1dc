package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/quota/sized"
	"vserver/rootfs"
	"vserver/stack"
)

// Own are the trees of a guest's own in its directory, by their names there.
func Own(r guest.Root) []string {
	if r.Kind == guest.RootDir {
		return []string{"root"}
	}
	own := []string{"upper"}
	for _, s := range r.Shared {
		own = append(own, filepath.Join("shared", strings.Trim(s, "/"), "upper"))
	}
	return own
}

// OwnAt are those trees by their paths; dir is the guest's directory.
func OwnAt(r guest.Root, dir string) (out []string) {
	if r.Kind == guest.RootDir {
		return []string{r.Tree(dir)}
	}
	for _, tree := range Own(r) {
		out = append(out, filepath.Join(dir, tree))
	}
	return out
}

// MakeOwn makes the directories of an overlay guest's own: upper and work for the root,
// and the same for each directory of the host that it shares, in which hidden ones
// (parents first) start out empty.
func MakeOwn(dir string, base uint32, shared, hidden []string) error {
	at, release, err := sized.At(dir)
	if err != nil {
		return err
	}
	return errors.Join(MakeOwnAt(at, base, shared, hidden), release())
}

// MakeOwnAt does so in the directory itself, be there an image in it or not.
func MakeOwnAt(dir string, base uint32, shared, hidden []string) error {
	at := []string{dir}
	for _, s := range shared {
		own := filepath.Join(dir, "shared", strings.Trim(s, "/"))
		if err := os.MkdirAll(own, 0o700); err != nil {
			return err
		}
		at = append(at, own)
	}
	for _, own := range at {
		if err := MakeDir(filepath.Join(own, "upper"), 0o755, base); err != nil {
			return err
		}
		if err := MakeDir(filepath.Join(own, "work"), 0o700, 0); err != nil {
			return err
		}
	}
	for _, path := range hidden {
		for _, s := range shared {
			if below, ok := strings.CutPrefix(path, s+"/"); ok {
				if err := hide(filepath.Join(dir, "shared", strings.Trim(s, "/"), "upper"), below, base); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// hide makes an empty directory that does not show what the lower layer has there. One
// in a hidden directory is just made.
func hide(upper, name string, base uint32) error {
	if err := MakeDir(filepath.Join(upper, name), 0o755, base); err != nil || strings.Contains(name, "/") {
		return err
	}
	d, err := file.OpenDir(upper)
	if err != nil {
		return err
	}
	defer d.Close()
	return layer.Hide(d, name)
}

// MakeDir makes a directory of ours with owner and mode as said.
func MakeDir(path string, mode os.FileMode, id uint32) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return errors.Join(os.Chown(path, int(id), int(id)), os.Chmod(path, mode))
}

// Layers are the layers that a guest lies on, as its mounts want them. A list that cannot
// be read is a layer that is not there: that is for the mount to say, a stop does not ask.
func Layers(d guest.Dirs, n guest.Name) (out []rootfs.Layer) {
	layers, err := stack.Read(d.Guest(n))
	if err != nil {
		return []rootfs.Layer{{Dir: err.Error()}}
	}
	for _, l := range layers {
		out = append(out, rootfs.Layer{Dir: l.Dir(d), Base: l.Base})
	}
	return out
}
