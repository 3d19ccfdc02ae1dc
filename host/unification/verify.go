package unification

import (
	"cmp"
	"context"
	"errors"
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

// Damaged is an object that is not what it was, and whom that hits.
type Damaged struct {
	unify.Finding
	Places   []unify.Place `json:"places"`            // trees are images, and layers as layers/ID/upper
	Guests   []guest.Name  `json:"guests"`            // whose roots lie over one of these
	Running  []guest.Name  `json:"running,omitempty"` // those because of which it was not repaired
	Repaired bool          `json:"repaired"`
	Err      error         `json:"-"` // why it was not repaired
}

// VerifyOptions are the ways to verify.
type VerifyOptions struct {
	// Afresh begins at the start even if the last verify did not come to its end.
	Afresh bool
	// DryRun repairs nothing.
	DryRun bool
	// Progress gets lines; nil discards them.
	Progress io.Writer
}

// Verify reads all objects, tells which are damaged, which images and guests that hits,
// and repairs them from other copies.
func Verify(ctx context.Context, d guest.Dirs, o VerifyOptions) (v unify.Verified, out []Damaged, err error) {
	if there, err := file.Exists(filepath.Join(d.Pool(), "objects")); !there || err != nil {
		return v, nil, err
	}
	s, err := unify.Open(d.Pool())
	if err != nil {
		return v, nil, err
	}
	defer s.Close()
	say, next := build.Lines(o.Progress), int64(step)
	v, err = s.Verify(ctx, o.Afresh, func(v unify.Verified) {
		if v.Bytes >= next {
			say.Say("read %d objects, %d MiB, %d damaged: %d %%", v.Objects, v.Bytes>>20, len(v.Found), v.Percent)
			next = v.Bytes + step
		}
	})
	if err != nil || len(v.Found) == 0 {
		return v, nil, err
	}
	out, err = mend(ctx, d, s, v.Found, o.DryRun)
	return v, out, err
}

// mend finds out whom damages hit, and repairs them. The store is this one's alone
// meanwhile, so that no tree gets a name for a damaged object that was not found.
func mend(ctx context.Context, d guest.Dirs, s *unify.Store, found []unify.Finding, dry bool) (out []Damaged, err error) {
	var busy error
	if !dry {
		busy = s.Seize()
	}
	change := !dry && busy == nil
	t := treesOf(d)
	defer func() { err = errors.Join(err, t.release()) }()
	images, err := pool.Open(d.Pool()).List()
	if err != nil {
		return nil, err
	}
	for _, im := range images {
		if err := t.image(im.Name, change); err != nil {
			return nil, err
		}
	}
	if err := cmp.Or(t.over(), t.beneath()); err != nil {
		return nil, err
	}
	places, err := unify.Places(ctx, t.roots, found)
	if err == nil && change {
		err = t.hold(slices.Concat(places...))
	}
	if err != nil {
		return nil, err
	}
	for i, f := range found {
		bad := Damaged{Finding: f, Places: places[i], Guests: t.above(places[i]), Err: busy}
		if change {
			bad.Err = files.HintFull(s.Repair(ctx, f, bad.Places, t.roots), d.Data)
			bad.Repaired = bad.Err == nil
		}
		if errors.Is(bad.Err, unify.ErrHeld) {
			if bad.Running, err = running(d, bad.Guests); err != nil {
				return nil, err
			}
		}
		out = append(out, bad)
	}
	return out, ctx.Err()
}

// running gives those of the guests that run.
func running(d guest.Dirs, names []guest.Name) (out []guest.Name, err error) {
	for _, n := range names {
		runs, err := state.Runs(d, n)
		if err != nil {
			return nil, err
		}
		if runs {
			out = append(out, n)
		}
	}
	return out, nil
}
