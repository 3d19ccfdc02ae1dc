// Package unification makes equal files of images one file, and looks after the objects
// that these are: package unify does it with trees, this one knows whose trees they are.
//
// An image is unified only while no guest runs upon it, since overlay leaves open what
// happens when a lower layer changes: the image is locked as for its removal, and with it
// these guests. So is a damaged object repaired beneath guests only while none of these runs.
package unification

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"vserver/build"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/pool"
	"vserver/unify"
)

// step is after how many bytes a line of progress is due.
const step = 64 << 20

// Unified is an image, and what was done with it.
type Unified struct {
	Image  string       `json:"image"`
	Busy   bool         `json:"busy"` // left alone: in use, by a guest that runs upon it
	Report unify.Report `json:"report"`
}

// Options are the ways to unify.
type Options struct {
	// DryRun only tells what would be saved.
	DryRun bool
	// Progress gets lines; nil discards them.
	Progress io.Writer
}

// Images unifies the images that the words mean, all when there are none. What is in use
// is left alone.
func Images(ctx context.Context, d guest.Dirs, words []string, o Options) (out []Unified, err error) {
	p, say := pool.Open(d.Pool()), build.Lines(o.Progress)
	names, err := meant(p, words)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	s, err := unify.Open(d.Pool())
	if err != nil {
		return nil, files.HintFull(err, d.Data)
	}
	defer s.Close()
	for _, name := range names {
		u, err := one(ctx, d, s, name, o.DryRun, say)
		switch {
		case errors.Is(err, pool.ErrNoImage) && len(words) == 0: // removed meanwhile
			continue
		case err != nil:
			return out, fmt.Errorf("image %s: %w", name, files.HintFull(err, d.Data))
		}
		out = append(out, u)
	}
	return out, nil
}

// meant gives the full names that words mean, each once.
func meant(p *pool.Pool, words []string) (names []string, err error) {
	for _, w := range words {
		name, err := p.Resolve(w)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(words) > 0 {
		return names, nil
	}
	all, err := p.List()
	for _, im := range all {
		names = append(names, im.Name)
	}
	return names, err
}

func one(ctx context.Context, d guest.Dirs, s *unify.Store, name string, dry bool, say build.Progress) (u Unified, err error) {
	u.Image = name
	p := pool.Open(d.Pool())
	hold := p.Hold
	if dry {
		hold = p.Use
	}
	release, err := hold(name)
	if errors.Is(err, guest.ErrBusy) {
		u.Busy = true
		return u, nil
	}
	if err != nil {
		return u, err
	}
	defer release()
	if !dry {
		t := treesOf(d)
		defer func() { err = errors.Join(err, t.release()) }()
		err := t.over()
		if err == nil {
			u.Busy, err = t.busy(name, state.TryLock)
		}
		if err != nil || u.Busy {
			return u, err
		}
	}
	tree, err := p.Tree(name)
	if err != nil {
		return u, err
	}
	at, err := file.OpenDir(filepath.Dir(tree))
	if err != nil {
		return u, err
	}
	defer at.Close()
	next := int64(step)
	u.Report, err = s.Tree(ctx, at, filepath.Base(tree), dry, func(r unify.Report) {
		if r.Read >= next {
			say.Say("%s: read %d MiB, %d MiB are there already", name, r.Read>>20, r.Saved>>20)
			next = r.Read + step
		}
	})
	return u, err
}

// Collect removes the objects that no image has any more. It is guest.ErrBusy while
// images are unified or objects verified.
func Collect(ctx context.Context, d guest.Dirs, dry bool) (c unify.Collected, err error) {
	if there, err := file.Exists(filepath.Join(d.Pool(), "objects")); !there || err != nil {
		return c, err
	}
	s, err := unify.Open(d.Pool())
	if err != nil {
		return c, err
	}
	defer s.Close()
	return s.Collect(ctx, dry)
}
