package reach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/disk"
	"vserver/host/files"
	"vserver/host/inside"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/kernel/mount"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/rootfs"
	"vserver/store"
)

// view is the host, or a guest as its own processes see it.
type view struct {
	name  guest.Name // "" is the host
	root  *file.Root
	base  uint32 // host id of guest id 0
	bound bool   // its root has power over its own ids alone, of which all of us have more
	end   func() (bool, error)
	close []func()
}

// hosts is the view of the host itself.
func hosts() (*view, error) {
	root, err := file.OpenRoot("/")
	return &view{root: root}, err
}

// open finds a guest's files: those of one that runs in the mounts that it has, of another
// in mounts that nobody else sees and that are gone when this process is. It does not
// start meanwhile.
func open(d guest.Dirs, n guest.Name) (*view, error) {
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		return nil, errors.Join(err, guest.ErrNotFound)
	}
	var err error
	const tries = 3 // of a guest that begins or ends meanwhile
	for range tries {
		v := &view{name: n}
		var running bool
		if running, err = state.Runs(d, n); err != nil {
			return nil, err
		}
		if running {
			err = v.enter(d)
		} else {
			err = v.mount(d)
		}
		if err == nil {
			err = v.mend(d)
		}
		if err == nil {
			return v, nil
		}
		v.Close()
		if !errors.Is(err, guest.ErrStopped) && !errors.Is(err, guest.ErrRunning) {
			break
		}
	}
	return nil, err
}

func (v *view) enter(d guest.Dirs) error {
	leave, err := state.Visit(d, v.name)
	if err != nil {
		return err
	}
	in, err := inside.Enter(d, v.name)
	if err != nil {
		leave()
		return err
	}
	v.close = append(v.close, in.Close, leave)
	if v.root, err = in.Root(); err != nil {
		v.Close()
		return err
	}
	v.base, v.bound, v.end = in.Note.Base, in.Note.Userns, in.Ended
	return nil
}

func (v *view) mount(d guest.Dirs) error {
	unlock, err := state.Lock(d, v.name)
	if err != nil {
		return err
	}
	v.close = append(v.close, unlock)
	if err := life.Halted(d, v.name); err != nil {
		return err
	}
	spec, err := state.Load(d, v.name)
	if err != nil {
		return err
	}
	if err := errors.Join(files.Whole(d, v.name, spec), files.Freshen(d, v.name)); err != nil {
		return err
	}
	if disk.Limited(spec) {
		if err := disk.Bound(d, v.name, spec); err != nil {
			return err
		}
	}
	v.base = spec.FirstID()
	v.bound = v.base != 0
	owner := rootfs.Owner{Base: v.base, Userns: -1}
	if v.bound {
		ids, err := rootfs.IDs(v.base)
		if err != nil {
			return err
		}
		defer ids.Close()
		owner.Userns = int(ids.Fd())
	}
	volumes, err := rootfs.Volumes(spec, d.Volumes())
	if err != nil {
		return err
	}
	var parts []part
	mounts, err := roots(d, v.name, spec)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		parts = append(parts, part{m.Target, func() (int, error) { return m.Make(owner) }})
	}
	for _, m := range volumes {
		if m.Type == guest.MountBind || m.Type == guest.MountVolume {
			parts = append(parts, part{m.Target, func() (int, error) { return m.Make(owner) }})
		}
	}
	fd, err := join(parts)
	if err == nil {
		v.root = file.RootOf(fd, string(v.name))
	}
	return err
}

// part is a mount of a guest, not made yet.
type part struct {
	at   string
	make func() (int, error)
}

// join makes mounts, of which the first is the root of the others, and one of them all.
func join(parts []part) (int, error) {
	var fds []mount.Below
	defer func() {
		for _, b := range fds {
			syscall.Close(b.FD)
		}
	}()
	for _, p := range parts {
		fd, err := p.make()
		if err != nil {
			return -1, err
		}
		fds = append(fds, mount.Below{FD: fd, Path: p.at})
	}
	if len(fds) == 1 {
		fd := fds[0].FD
		fds = nil
		return fd, nil
	}
	return mount.Tree(fds[0].FD, fds[1:])
}

// roots are the mounts of a guest's root and of what it shares with the host below that.
func roots(d guest.Dirs, n guest.Name, spec *guest.Spec) ([]rootfs.Mount, error) {
	list := rootfs.Plan(spec, d.Guest(n), files.Layers(d, n), func(image string) string {
		tree, err := pool.Open(d.Pool()).Tree(image)
		if err != nil {
			return image // whose mount then fails, and says so
		}
		return tree
	})
	list = list[:1+len(spec.Root.Shared)]
	imaged, err := sized.There(d.Guest(n))
	for i := range list {
		if imaged && list[i].Kind == rootfs.Overlay {
			list[i].Image = d.Guest(n)
		}
	}
	return list, err
}

// Close lets go of the guest.
func (v *view) Close() {
	if v.root != nil {
		v.root.Close()
		v.root = nil
	}
	for _, c := range v.close {
		c()
	}
	v.close = nil
}

// watch ends a context when a guest that was running ends: its files may be another's then.
func (v *view) watch(ctx context.Context, end context.CancelCauseFunc) {
	const pause = 20 * time.Millisecond
	for v.end != nil {
		if gone, err := v.end(); gone || err != nil {
			end(errors.Join(err, fmt.Errorf("%s: %w", v.name, guest.ErrStopped)))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// Bits of Stat.May.
const (
	mayRead  = 4
	mayWrite = 2
	mayPass  = 1
)

// check refuses what a guest's root could not do itself: in its mounts there may be files
// of the host's, which we could read and write.
func (v *view) check(path string, st file.Stat, bits uint32) error {
	if v.bound && !st.May(v.base, guest.IDs, bits) {
		return &fs.PathError{Op: "open", Path: path, Err: foreign()}
	}
	return nil
}

// foreign says that a file is not the guest's.
func foreign() error {
	return fault.Hint(fmt.Errorf("belongs to the host, not to the guest: %w", fs.ErrPermission),
		"copy it where the host has that directory; the option idmap of `vserver NAME config mounts` would make it the guest's")
}
