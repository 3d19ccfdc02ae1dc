package making

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vserver/guest"
	"vserver/host/life"
	"vserver/kernel/file"
	"vserver/store"
)

func bare(d guest.Dirs, n guest.Name) string { return filepath.Join(staging(d, n), "bare") }

// seizeBare marks a guest that is being made as one to be furnished, as long as the
// directory is open.
func seizeBare(d guest.Dirs, n guest.Name) (*file.Dir, error) {
	dir, err := file.OpenDir(staging(d, n))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(dir.Seize(), os.WriteFile(bare(d, n), nil, 0o600)); err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// leave gives up the mark, as the end of this process would.
func (b *builder) leave() {
	if b.bare != nil {
		b.bare.Close()
	}
}

// furnish completes the guest, or has it go again.
func (b *builder) furnish(ctx context.Context) error {
	err := b.o.Furnish(ctx)
	if err != nil && !b.o.Keep {
		return errors.Join(err, Delete(context.WithoutCancel(ctx), b.dirs, b.n, DeleteOptions{}))
	}
	return errors.Join(err, locked(b.dirs, b.n, func() error { return remove(filepath.Dir(staging(b.dirs, b.n)), b.n) }))
}

// furnished tells whether a guest with a mark in staging is whole. One that nobody is left to
// furnish is taken away, unless its package manager has not heard yet that it shall end.
func furnished(d guest.Dirs, n guest.Name) (bool, error) {
	if to, err := file.Exists(bare(d, n)); err != nil || !to {
		return err == nil, err
	}
	dir, err := file.OpenDir(staging(d, n))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	if err := dir.Seize(); errors.Is(err, file.ErrLocked) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if err := life.Halted(d, n); errors.Is(err, guest.ErrRunning) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return false, errors.Join(store.Remove(d.Spec(n)), clear(d, n))
}
