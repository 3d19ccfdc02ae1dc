// Package pool keeps the images: trees that guests share as the lower layer of their
// root and that never change once they are there.
//
//	DIR/images/NAME/tree/       the files, owned by ids from 0 as in a distribution
//	DIR/images/NAME/image.json  what it is (Meta)
//	DIR/staging/NAME/           being made or being removed
//	DIR/locks/NAME              flock of who makes or removes NAME
//	DIR/tags/WORD               symbolic link to the name of the image that WORD means
//
// NAME is a plain name or NAME@VERSION; Resolve says what a plain name means.
//
// An image is made in staging and becomes one by a single rename; it is removed by the
// same rename the other way. So a killed build or removal leaves nothing but a staging
// directory that nobody holds the lock of, and the next operation sweeps it. DIR is
// 0700: set-uid programs of an image are out of reach of the host's users.
package pool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
)

// ErrNoImage says that an image is not in the pool.
var ErrNoImage = errors.New("no such image")

// Pool is the directory of the images.
type Pool struct {
	dir  string
	keep bool
}

// Open gives the pool at dir. It touches nothing: the directories are made by Add.
func Open(dir string) *Pool { return &Pool{dir: dir} }

// Keeping gives the same pool, but one whose Add keeps the tree of an image that
// could not be made, for looking at: in DIR/kept/NAME, until somebody removes it.
func (p *Pool) Keeping() *Pool { return &Pool{p.dir, true} }

func (p *Pool) image(name string) string   { return filepath.Join(p.dir, "images", name) }
func (p *Pool) staging(name string) string { return filepath.Join(p.dir, "staging", name) }
func (p *Pool) lock(name string) string    { return filepath.Join(p.dir, "locks", name) }

// Tree is the directory with the files of the image that name means, or ErrNoImage.
func (p *Pool) Tree(name string) (string, error) {
	name, err := p.Resolve(name)
	if err != nil {
		return "", err
	}
	return filepath.Join(p.image(name), "tree"), nil
}

// whole tells whether there is an image of exactly that name.
func (p *Pool) whole(name string) (bool, error) {
	return file.Exists(filepath.Join(p.image(name), "tree"))
}

// Add makes the image called name: fill gets an empty directory, owned by root and
// 0755, to put the files in. Another Add of the same name is waited for. An image that
// is there already gives an error that is guest.ErrExists. When fill fails nothing
// stays behind (but see Keeping).
func (p *Pool) Add(ctx context.Context, name string, meta Meta, fill func(context.Context, string) error) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := p.prepare(); err != nil {
		return err
	}
	lock, err := file.WaitLock(ctx, p.lock(name))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	for _, there := range []string{p.image(name), p.tag(name)} {
		if is, err := file.Exists(there); is || err != nil {
			return fmt.Errorf("image %s: %w", name, cmp.Or(err, guest.ErrExists))
		}
	}
	err = p.stage(ctx, name, meta, fill)
	if err == nil {
		err = os.Rename(p.staging(name), p.image(name))
	}
	if err == nil {
		return p.sync("images")
	}
	if p.keep {
		return errors.Join(err, p.putAside(name))
	}
	return errors.Join(err, p.drop(name))
}

// putAside moves a half-made image, whose lock is held, to where nobody sweeps.
func (p *Pool) putAside(name string) error {
	kept := filepath.Join(p.dir, "kept")
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return err
	}
	d, err := file.OpenDir(kept)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.RemoveAll(name); err != nil {
		return err
	}
	return os.Rename(p.staging(name), filepath.Join(kept, name))
}

// Kept is where Keeping leaves an image that could not be made.
func (p *Pool) Kept(name string) string { return filepath.Join(p.dir, "kept", name) }

// prepare makes the pool's directories and sweeps.
func (p *Pool) prepare() error {
	for _, d := range []string{"", "images", "staging", "tags", "locks"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o700); err != nil {
			return err
		}
	}
	return p.Sweep()
}

// stage fills the staging directory of an image, whose lock is held.
func (p *Pool) stage(ctx context.Context, name string, meta Meta, fill func(context.Context, string) error) error {
	if err := p.drop(name); err != nil {
		return err
	}
	dir := p.staging(name)
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(tree, 0o755); err != nil { // whatever the umask
		return err
	}
	if err := fill(ctx, tree); err != nil {
		return err
	}
	if err := describe(ctx, tree, &meta); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	meta.Made = time.Now().UTC().Truncate(time.Second)
	text, err := json.MarshalIndent(meta, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "image.json"), append(text, '\n'), 0o600); err != nil {
		return err
	}
	d, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return file.SyncAll(d) // the rename must not reach the disk before the files do
}

// drop removes a staging directory, whose lock is held.
func (p *Pool) drop(name string) error {
	d, err := file.OpenDir(filepath.Join(p.dir, "staging"))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.RemoveAll(name)
}

func (p *Pool) sync(sub string) error {
	d, err := file.OpenDir(filepath.Join(p.dir, sub))
	if err != nil {
		return err
	}
	defer d.Close()
	return file.Sync(d)
}

// Use protects an image from Remove until release is called: for the time between
// choosing it and writing the spec that refers to it.
func (p *Pool) Use(name string) (release func(), err error) {
	return p.grip(name, (*file.Dir).Share)
}

// Hold has an image for oneself until release is called: it is guest.ErrBusy while
// somebody uses it, and meanwhile nobody can.
func (p *Pool) Hold(name string) (release func(), err error) {
	release, err = p.grip(name, (*file.Dir).Seize)
	if errors.Is(err, file.ErrLocked) {
		err = fmt.Errorf("image %s: being used: %w", name, guest.ErrBusy)
	}
	return release, err
}

func (p *Pool) grip(name string, lock func(*file.Dir) error) (release func(), err error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	d, err := file.OpenDir(p.image(name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNoImage
		}
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	if err := lock(d); err != nil {
		d.Close()
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	if there, err := p.whole(name); !there || err != nil { // removed between the open and the lock
		d.Close()
		return nil, fmt.Errorf("image %s: %w", name, cmp.Or(err, ErrNoImage))
	}
	return func() { d.Close() }, nil
}

// Remove removes an image. It is refused with guest.ErrBusy while one of the referers
// (guests whose specs name it, found by the caller) is left or while somebody uses it.
func (p *Pool) Remove(name string, referers []guest.Name) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if len(referers) > 0 {
		slices.Sort(referers)
		return fmt.Errorf("image %s: is the root of %s: %w", name, referers[0], guest.ErrBusy)
	}
	if there, err := file.Exists(p.image(name)); !there || err != nil {
		err = fmt.Errorf("image %s: %w", name, cmp.Or(err, ErrNoImage))
		if full, bad := p.Resolve(name); bad == nil { // what it means may be another tomorrow
			err = fault.Hint(err, "vserver image delete "+full)
		}
		return err
	}
	if err := p.prepare(); err != nil {
		return err
	}
	lock, err := file.TryLock(p.lock(name))
	if errors.Is(err, file.ErrLocked) {
		err = fmt.Errorf("image %s: %w", name, guest.ErrBusy)
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	d, err := file.OpenDir(p.image(name))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Seize(); err != nil {
		return fmt.Errorf("image %s: being used: %w", name, guest.ErrBusy)
	}
	if err := p.drop(name); err != nil {
		return err
	}
	if err := os.Rename(p.image(name), p.staging(name)); err != nil {
		return err
	}
	return errors.Join(p.sweepTags(), p.drop(name))
}

// Sweep removes what killed operations left in staging, and tags of images that are gone. What living ones are working
// on stays.
func (p *Pool) Sweep() error {
	entries, err := os.ReadDir(filepath.Join(p.dir, "staging"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		lock, lerr := file.TryLock(p.lock(e.Name()))
		if errors.Is(lerr, file.ErrLocked) {
			continue
		}
		if lerr == nil {
			lerr = errors.Join(p.drop(e.Name()), lock.Unlock())
		}
		err = errors.Join(err, lerr)
	}
	return errors.Join(err, p.sweepTags())
}
