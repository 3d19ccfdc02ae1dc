package unification

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"vserver/guest"
	"vserver/host/life"
	"vserver/host/making"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/stack"
	"vserver/unify"
	"vserver/unify/beneath"
)

// trees are those that may have names for objects: of images, and of the layers into which
// files of guests were moved.
type trees struct {
	dirs   guest.Dirs
	roots  []unify.Root
	layers map[string]string       // ids of layers, by the names of their roots
	users  map[string][]guest.Name // who lies over a root, by its name
	mine   map[guest.Name]bool     // locked: whether no overlay of the guest is there
	ends   []func()
}

func treesOf(d guest.Dirs) *trees {
	return &trees{dirs: d, layers: map[string]string{}, users: map[string][]guest.Name{}, mine: map[guest.Name]bool{}}
}

func (t *trees) release() (err error) {
	for _, r := range t.roots {
		err = errors.Join(err, r.Dir.Close())
	}
	for _, end := range t.ends {
		end()
	}
	return err
}

// open adds a tree.
func (t *trees) open(name, dir string, held bool) error {
	at, err := file.OpenDir(dir)
	if err == nil {
		t.roots = append(t.roots, unify.Root{Name: name, Dir: at, Held: held})
	}
	return err
}

// image adds an image, and holds it, if it may be changed and nobody uses it.
func (t *trees) image(name string, change bool) error {
	p := pool.Open(t.dirs.Pool())
	end, err := p.Hold(name)
	mine := err == nil && change
	if err != nil {
		if end, err = p.Use(name); err != nil {
			return err
		}
	}
	t.ends = append(t.ends, end)
	dir, err := p.Tree(name)
	if err != nil {
		return err
	}
	return t.open(name, dir, mine)
}

// over finds out whose roots lie over which images. It comes when the images are held: who
// builds a guest upon one uses it meanwhile, and then has a spec.
func (t *trees) over() error {
	images, err := making.Images(t.dirs)
	for _, im := range images {
		t.users[im.Name] = im.Guests
	}
	return err
}

// busy locks the guests that lie over a tree, and tells whether one of them has an overlay. If
// none has, none gets one.
func (t *trees) busy(name string, lock func(guest.Dirs, guest.Name) (func(), error)) (bool, error) {
	for _, n := range t.users[name] {
		if err := t.lock(n, lock); err != nil || !t.mine[n] {
			return true, err
		}
	}
	return false, nil
}

// beneath adds the layers of guests that may have objects.
func (t *trees) beneath() error {
	release, err := stack.Hold(t.dirs) // nobody takes one away
	if err != nil {
		return err
	}
	t.ends = append(t.ends, release)
	users, err := stack.Common(t.dirs)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(users)) {
		name := filepath.Join(filepath.Base(t.dirs.Layers()), id, "upper")
		err := t.open(name, filepath.Join(stack.Layer{ID: id}.Dir(t.dirs), "upper"), false)
		if errors.Is(err, fs.ErrNotExist) { // of a plain directory
			continue
		}
		if err != nil {
			return err
		}
		t.layers[name], t.users[name] = id, users[id]
	}
	return nil
}

// above gives the guests that lie over places.
func (t *trees) above(places []unify.Place) (out []guest.Name) {
	for _, p := range places {
		out = append(out, t.users[p.Tree]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// hold takes the trees that have one of the places for this one alone, as far as none of
// the guests that lie on them runs: these stay locked. A clone that lies on one needs
// the lock of a guest that does to be made, so none comes up afterwards.
func (t *trees) hold(places []unify.Place) error {
	for _, p := range places {
		for i, r := range t.roots {
			if r.Name != p.Tree || t.layers[r.Name] == "" && !r.Held {
				continue
			}
			busy, err := t.busy(r.Name, state.Lock)
			if err != nil {
				return err
			}
			t.roots[i].Held = !busy
		}
	}
	now, err := stack.Users(t.dirs) // with those that came meanwhile
	if err != nil {
		return err
	}
	for i, r := range t.roots {
		if id := t.layers[r.Name]; id != "" {
			t.roots[i].Held = !slices.ContainsFunc(now[id], func(n guest.Name) bool { return !t.mine[n] })
		}
	}
	return nil
}

// lock locks a guest and finds out whether it has an overlay.
func (t *trees) lock(n guest.Name, lock func(guest.Dirs, guest.Name) (func(), error)) error {
	if _, known := t.mine[n]; known {
		return nil
	}
	t.mine[n] = false
	unlock, err := lock(t.dirs, n)
	if err == nil {
		t.ends = append(t.ends, unlock)
		err = life.Halted(t.dirs, n)
	}
	if err == nil {
		err = unused(t.dirs.Guest(n))
	}
	if errors.Is(err, guest.ErrBusy) || errors.Is(err, guest.ErrRunning) {
		return nil
	}
	t.mine[n] = err == nil
	return err
}

// unused gives guest.ErrBusy while an overlay has the private layer of the guest whose directory
// this is.
func unused(dir string) error {
	at, release, err := sized.At(dir)
	if err != nil {
		return err
	}
	return errors.Join(beneath.Unused(at), release())
}
