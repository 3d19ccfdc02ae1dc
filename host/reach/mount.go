package reach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/kernel/mount"
	"vserver/step"
	"vserver/store"
)

// Mount mounts the root of guest n, which must not run, at a directory of the host's, to be
// written to or not. Files show the ids that the guest sees, so that what the host's root
// makes there is the guest's root's; set-user-ID programs and devices are none. While it
// can be written to the guest does not start: two overlays that write to one tree ruin
// it. A guest may start while it can only be read, which may then show what was.
func Mount(ctx context.Context, d guest.Dirs, n guest.Name, dir string, writable bool) error {
	at, err := filepath.EvalSymlinks(dir)
	if err == nil {
		at, err = filepath.Abs(at)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.Hint(err, "mkdir "+dir)
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(at); err != nil || !info.IsDir() {
		return errors.Join(err, fmt.Errorf("%s: no directory: %w", dir, guest.ErrInvalid))
	}
	if strings.Contains(at, "\n") || at == "/" {
		return fmt.Errorf("%q: nothing is mounted there: %w", at, guest.ErrInvalid)
	}
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		return errors.Join(err, guest.ErrNotFound)
	}
	return state.Locked(d, n, state.Patience, func() error {
		m := &mounting{dirs: d, name: n, view: state.View{Dir: at, Writable: writable}, fd: -1}
		defer m.Close()
		if err := m.look(); err != nil {
			return err
		}
		// The lower of two mounts at one place could not be taken away.
		if _, taken, err := mount.Top(at); err != nil || taken {
			return errors.Join(err, fmt.Errorf("%s: something is mounted there", at))
		}
		return step.Run(ctx, "mount", []step.Step{
			{Name: "note it", Do: func(context.Context) error { return state.NoteView(d, n, m.view) }, Undo: func() error { return state.ForgetView(d, n) }},
			{Name: "attach it at " + at, Do: func(context.Context) error { return mount.Attach(m.fd, at) }},
		})
	})
}

// mounting is one Mount.
type mounting struct {
	dirs guest.Dirs
	name guest.Name
	view state.View
	fd   int
}

// Close closes the mount; where it is attached it stays.
func (m *mounting) Close() {
	if m.fd >= 0 {
		syscall.Close(m.fd)
	}
}

// look makes the mount, for a guest that can have one.
func (m *mounting) look() error {
	if was, err := state.Mounted(m.dirs, m.name); err != nil || was != nil {
		return errors.Join(err, was.Taken(m.name))
	}
	if err := life.Halted(m.dirs, m.name); err != nil {
		if errors.Is(err, guest.ErrRunning) {
			err = fault.Hint(guest.ErrRunning, "vserver "+string(m.name)+" push and pull copy files of one that runs")
		}
		return err
	}
	spec, err := state.Load(m.dirs, m.name)
	if err != nil {
		return err
	}
	if err := errors.Join(files.Whole(m.dirs, m.name, spec), files.Freshen(m.dirs, m.name)); err != nil {
		return err
	}
	mounts, err := roots(m.dirs, m.name, spec)
	if err != nil {
		return err
	}
	var parts []part
	for _, p := range mounts {
		parts = append(parts, part{p.Target, func() (int, error) { return p.Show(m.dirs.Guest(m.name), spec.FirstID(), m.view.Writable) }})
	}
	if m.fd, err = join(parts); err != nil {
		return err
	}
	attr := uint64(mount.NoSuid | mount.NoDev)
	if !m.view.Writable {
		attr |= mount.ReadOnly
	}
	if err := mount.SetAttrAll(m.fd, attr, -1); err != nil {
		return err
	}
	m.view.ID, err = mount.ID(m.fd)
	return err
}

// Umount takes that mount away; dir is where it is, or "".
func Umount(d guest.Dirs, n guest.Name, dir string) error {
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		return errors.Join(err, guest.ErrNotFound)
	}
	return state.Locked(d, n, state.Patience, func() error {
		v, err := state.Mounted(d, n)
		if err == nil && v == nil {
			err = errors.Join(state.ForgetView(d, n), fmt.Errorf("is not mounted: %w", guest.ErrInvalid))
		}
		if err != nil {
			return err
		}
		if v.Lost || v.Process != 0 {
			return v.Taken(n)
		}
		if at, err := filepath.Abs(dir); dir != "" && (err != nil || at != v.Dir && resolved(at) != v.Dir) {
			return fmt.Errorf("%s: it is mounted at %s: %w", dir, v.Dir, guest.ErrInvalid)
		}
		if top, _, err := mount.Top(v.Dir); err != nil || top != v.ID {
			return errors.Join(err, fmt.Errorf("%s: something else is mounted over it", v.Dir))
		}
		err = mount.Detach(v.Dir)
		if errors.Is(err, syscall.EBUSY) {
			err = fault.Hint(fmt.Errorf("%s: somebody uses it: %w", v.Dir, guest.ErrBusy), "`fuser -vm "+v.Dir+"` shows who uses it")
		}
		if err != nil {
			return err
		}
		if v, err = state.Mounted(d, n); err != nil || v != nil {
			return errors.Join(err, v.Taken(n)) // a copy of it, where umount(2) does not reach
		}
		return state.ForgetView(d, n)
	})
}

func resolved(path string) string {
	at, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return at
}
