package gallery

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/state"
	"vserver/identity"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/store"
	"vserver/store/settings"
)

// Rebased is what a rebase did, or would do.
type Rebased struct {
	From, To string // the images, by their full names
	// Conflicts are the files that are the guest's own and differ between the images, by
	// their paths: the guest goes on seeing its own. Not among them is what each guest has of
	// its own: see identity.Given.
	Conflicts []Conflict
	Kept      int // files in which the images differ, that RebaseOptions.Keep keeps
}

// RebaseOptions say how.
type RebaseOptions struct {
	Dry bool // only tell what would come of it
	// Keep has the guest go on seeing what it sees of the image before, but for times.
	Keep bool
}

// Conflict is a file that both the guest and the new image changed.
type Conflict struct {
	Path  string `json:"path"`  // in the guest
	Guest string `json:"guest"` // what the guest did: Added, Changed or Removed
	Image string `json:"image"` // what the new image has done
}

// What was done to a file.
const (
	Added   = layer.Added
	Changed = layer.Changed
	Removed = layer.Removed
)

// Rebase puts the image that word means in the place of one beneath a guest, which must
// be stopped: of the image of the same name or, when there is none, of the only one. Its
// own files stay, its spec keeps its comments. A rebase that is killed has been done or not.
func Rebase(ctx context.Context, d guest.Dirs, n guest.Name, word string, o RebaseOptions) (r Rebased, err error) {
	err = state.Locked(d, n, state.Patience, func() error {
		r, err = rebase(ctx, d, n, word, o)
		return err
	})
	return r, err
}

func rebase(ctx context.Context, d guest.Dirs, n guest.Name, word string, o RebaseOptions) (r Rebased, err error) {
	spec, err := stopped(d, n)
	if err != nil {
		return r, err
	}
	p := pool.Open(d.Pool())
	if r.To, err = p.Resolve(word); err != nil {
		return r, err
	}
	release, err := p.Use(r.To)
	if err != nil {
		return r, err
	}
	defer release()
	at, err := place(n, spec, r.To)
	if err != nil {
		return r, err
	}
	if r.From, err = p.Resolve(spec.Root.Lower[at]); err != nil {
		return r, err
	}
	if o.Keep {
		r.Kept, err = keep(ctx, d, n, spec, r.From, r.To, o.Dry)
	} else {
		r.Conflicts, err = conflicts(ctx, d, n, spec, r.From, r.To)
	}
	if err != nil || o.Dry {
		return r, err
	}
	lower := slices.Clone(spec.Root.Lower)
	lower[at] = r.To
	text, err := store.Read(d.Spec(n))
	if err != nil {
		return r, err
	}
	text, _, err = settings.Apply(d.Spec(n), text, []string{"root.lower=[" + strings.Join(lower, ", ") + "]"})
	if err != nil {
		return r, err
	}
	return r, files.HintFull(store.WriteText(d.Spec(n), text), d.Config)
}

// place finds which of a guest's trees the image is to replace.
func place(n guest.Name, spec *guest.Spec, name string) (int, error) {
	if spec.Root.Kind != guest.RootOverlay {
		return 0, fmt.Errorf("root.kind %s: lies over no image: %w", spec.Root.Kind, guest.ErrInvalid)
	}
	var images, same []int
	for i, l := range spec.Root.Lower {
		if filepath.IsAbs(l) {
			continue
		}
		images = append(images, i)
		if pool.Plain(l) == pool.Plain(name) {
			same = append(same, i)
		}
	}
	for _, found := range [][]int{same, images} {
		if len(found) == 1 {
			return found[0], nil
		}
	}
	return 0, fault.Hint(fmt.Errorf("root.lower %s: which of these shall be %s? %w", strings.Join(spec.Root.Lower, ", "), name, guest.ErrInvalid),
		"vserver "+string(n)+" set root.lower=[...]")
}

// conflicts finds what both a guest and the new image changed.
func conflicts(ctx context.Context, d guest.Dirs, n guest.Name, spec *guest.Spec, from, to string) ([]Conflict, error) {
	layers, err := layersOf(d, n)
	if err != nil {
		return nil, err
	}
	var own []tree
	for _, l := range layers {
		own = append(own, tree{dir: filepath.Join(l.Dir(d), "upper"), base: l.Base})
	}
	at, release, err := sized.At(d.Guest(n))
	if err != nil {
		return nil, err
	}
	defer release()
	own = append(own, tree{dir: filepath.Join(at, "upper"), base: spec.FirstID()})
	var pair [2]*file.Dir
	for i, name := range []string{from, to} {
		dir, err := pool.Open(d.Pool()).Tree(name)
		if err != nil {
			return nil, err
		}
		if pair[i], err = file.OpenDir(dir); err != nil {
			return nil, err
		}
		defer pair[i].Close()
	}
	found := map[string]Conflict{} // the topmost tree has the last word
	for _, t := range own {
		upper, err := file.OpenDir(t.dir)
		if err != nil {
			return nil, err
		}
		c := comparison{found: found}
		err = c.dir(ctx, upper, pair[0], pair[1], "", 0)
		upper.Close()
		if err != nil {
			return nil, err
		}
	}
	out := make([]Conflict, 0, len(found))
	for at, c := range found {
		if !identity.Given(at) { // that of an image is of another guest
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Conflict) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}
