package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
)

// unified is the file in the directory of a layer that says that it has nothing but files
// that were moved beneath a guest's own to be unified.
const unified = "unified"

// Replace gives a guest that is stopped and locked other layers, in one go.
func Replace(dir string, layers []Layer) error {
	const temp = ".layers"
	var b strings.Builder
	for _, l := range layers {
		b.WriteString(l.Text() + "\n")
	}
	if err := keep(filepath.Join(dir, temp), []byte(b.String())); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, temp), filepath.Join(dir, "layers")) //house:allow beside the guest's files, out of its reach
}

// Unified gives the layer on top of a guest's if it is one of Lay, else false.
func Unified(d guest.Dirs, n guest.Name) (Layer, bool, error) {
	layers, err := Read(d.Guest(n))
	if err != nil || len(layers) == 0 || layers[0].Base != 0 {
		return Layer{}, false, err
	}
	is, err := IsUnified(d, layers[0])
	return layers[0], is, err
}

// IsUnified tells whether a layer is one of Lay.
func IsUnified(d guest.Dirs, l Layer) (bool, error) {
	return file.Exists(filepath.Join(l.Dir(d), unified))
}

// Alone tells whether a layer is a guest's alone: no other guest and no snapshot lists it.
func Alone(d guest.Dirs, n guest.Name, l Layer) (bool, error) {
	users, err := Users(d)
	if err != nil || !slices.Equal(users[l.ID], []guest.Name{n}) {
		return false, err
	}
	snapshots, err := Snapshots(d.Guest(n))
	for _, s := range snapshots {
		if slices.ContainsFunc(s.Stack, func(line string) bool { return strings.HasPrefix(line, l.ID+" ") }) {
			return false, err
		}
	}
	return true, err
}

// Lay puts an empty layer with ids from 0 on top of the layers of a guest that is stopped
// and locked, for files to be moved into: trees are the names of the guest's own in its
// directory.
func Lay(d guest.Dirs, n guest.Name, trees []string) (Layer, error) {
	l := Layer{ID: NewID()}
	empty := func(string) error { return nil }
	err := lay(d, n, l, trees, empty, func(layers []Layer) []Layer { return append([]Layer{l}, layers...) })
	if err != nil {
		return l, err
	}
	return l, os.WriteFile(filepath.Join(l.Dir(d), unified), nil, fs.FileMode(0o600))
}

// Underlay puts a layer with ids from 0 beneath those of a guest that is stopped and locked,
// on top of its images: with the files that fill makes, which is called with the layer's
// directory.
func Underlay(d guest.Dirs, n guest.Name, trees []string, fill func(dir string) error) error {
	l := Layer{ID: NewID()}
	return lay(d, n, l, trees, fill, func(layers []Layer) []Layer { return append(layers, l) })
}

// lay makes a layer and puts it into a guest's list.
func lay(d guest.Dirs, n guest.Name, l Layer, trees []string, fill func(dir string) error, list func([]Layer) []Layer) error {
	layers, err := Read(d.Guest(n))
	if err != nil {
		return err
	}
	if len(layers) >= Deepest {
		return fmt.Errorf("has %d layers already: %w", len(layers), guest.ErrUnsupported)
	}
	release, err := Hold(d)
	if err != nil {
		return err
	}
	defer release()
	if err := Mark(d, l); err != nil {
		return err
	}
	for _, t := range trees {
		err = errors.Join(err, os.MkdirAll(filepath.Join(l.Dir(d), t), 0o755))
	}
	if err == nil {
		err = errors.Join(os.Chmod(l.Dir(d), 0o700), fill(l.Dir(d)))
	}
	if err == nil {
		err = Replace(d.Guest(n), list(layers))
	}
	if err != nil {
		return errors.Join(err, Remove(d, l), Unmark(d, l))
	}
	return Unmark(d, l)
}

// Substitute puts one layer in the place of another that shows the same, in the list of a
// guest that is stopped and locked, and in those of its snapshots, which keep their ids. Who
// is killed has done so with some of them.
func Substitute(d guest.Dirs, n guest.Name, old, now Layer) error {
	dir := d.Guest(n)
	layers, err := Read(dir)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(layers, func(l Layer) bool { return l.ID == old.ID }); i >= 0 {
		layers[i] = now
		if err := Replace(dir, layers); err != nil {
			return err
		}
	}
	list, err := Snapshots(dir)
	if err != nil {
		return err
	}
	for _, s := range list {
		i := slices.IndexFunc(s.Stack, func(line string) bool { return strings.HasPrefix(line, old.ID+" ") })
		if i < 0 {
			continue
		}
		s.Stack[i] = now.Text()
		if err := Add(dir, s); err != nil {
			return err
		}
	}
	return nil
}

// Lift takes the layer on top of a guest's, which is stopped and locked, out of its list,
// and removes it unless somebody else has it.
func Lift(d guest.Dirs, n guest.Name, l Layer) error {
	layers, err := Read(d.Guest(n))
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(layers, func(o Layer) bool { return o.ID == l.ID })
	if err := Replace(d.Guest(n), left); err != nil {
		return err
	}
	return Sweep(d)
}
