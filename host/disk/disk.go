// Package disk is what a guest's own files take of the host's disk over its life: limits
// that its spec has, kept by the file system, the quotas of its users, and what the host
// keeps for itself.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/quota"
	"vserver/quota/sized"
	"vserver/store"
)

// Make makes the directory for the own files of a guest that is being built, with the
// limits of its spec, which has its number.
func Make(path string, spec *guest.Spec) error {
	if err := quota.Make(path, spec.XID); err != nil {
		return err
	}
	a, err := quota.Open(path, spec.XID)
	if err != nil {
		return err
	}
	defer a.Close()
	if spec.Root.Device != "" {
		return sized.Take(context.Background(), path, spec.Root.Device, spec.Limits.Inodes)
	}
	if Imaged(a, spec) {
		return sized.Make(context.Background(), path, spec.Limits.Disk, spec.Limits.Inodes, nil)
	}
	return a.Set(spec.Limits)
}

// Bound gives a guest, whether it runs or not, the limits of its spec.
func Bound(d guest.Dirs, n guest.Name, spec *guest.Spec) error {
	return with(d, n, spec, func(a *quota.Area) error { return a.Set(spec.Limits) })
}

// Limited tells whether a spec has limits of the disk.
func Limited(s *guest.Spec) bool {
	return s.Limits.Disk > 0 || s.Limits.Inodes > 0 || s.Root.Device != ""
}

// Status is what a guest's files take; nil when nothing counts them.
func Status(d guest.Dirs, n guest.Name, spec *guest.Spec) (st *guest.DiskStatus, err error) {
	err = with(d, n, spec, func(a *quota.Area) error {
		st, err = a.Use()
		return err
	})
	return st, err
}

// area is where the guest's own files are.
func area(d guest.Dirs, n guest.Name, spec *guest.Spec) string {
	if spec.Root.Path != "" {
		return spec.Root.Path
	}
	return d.Guest(n)
}

func opened(d guest.Dirs, n guest.Name, spec *guest.Spec) (*quota.Area, error) {
	if spec.Root.Path != "" {
		return quota.Open(spec.Root.Path, spec.XID)
	}
	return quota.OpenHome(d.Guest(n), spec.XID)
}

func with(d guest.Dirs, n guest.Name, spec *guest.Spec, do func(*quota.Area) error) error {
	a, err := opened(d, n, spec)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a guest without files of its own, or none
	}
	if err != nil {
		return err
	}
	defer a.Close()
	return do(a)
}

// Adopt puts the files of a guest, which must not run, into its project, and bounds them.
func Adopt(ctx context.Context, d guest.Dirs, n guest.Name) error {
	spec, err := state.Load(d, n)
	if err != nil {
		return err
	}
	unlock, err := state.Lock(d, n)
	if err != nil {
		return err
	}
	defer unlock()
	running, err := state.Runs(d, n)
	if err != nil {
		return err
	}
	if running {
		return fault.Hint(guest.ErrRunning, "vserver "+string(n)+" stop")
	}
	if err := quota.Adopt(ctx, area(d, n, spec), spec.XID); err != nil {
		return err
	}
	return Bound(d, n, spec)
}

// Begin gives a guest that is about to run the limits of its spec, and refuses one that,
// with those that run, could take what the host keeps for itself. The guest's group must
// be there: so that of two that begin at once each sees the other. A guest without limits
// on a host without a reserve (guest.Dirs.Reserve) costs one look for a file.
func Begin(d guest.Dirs, n guest.Name, spec *guest.Spec) error {
	if Limited(spec) {
		if err := Bound(d, n, spec); err != nil {
			return err
		}
	}
	return reserved(d, func(room quota.Room, reserve guest.Bytes) error {
		return fits(d, n, spec, room, reserve)
	})
}

// Change gives a guest the limits of a spec that is about to be written, refusing those
// that its file system cannot hold, or that reach into the reserve while it runs.
func Change(d guest.Dirs, n guest.Name, spec *guest.Spec, running bool) error {
	if err := with(d, n, spec, func(a *quota.Area) error { return changeable(a, n, spec, running) }); err != nil {
		return err
	}
	if !running {
		return with(d, n, spec, func(a *quota.Area) error { return settle(d, n, spec, a) })
	}
	done := false
	err := reserved(d, func(room quota.Room, reserve guest.Bytes) error {
		if err := fits(d, n, spec, room, reserve); err != nil {
			return err
		}
		done = true
		return Bound(d, n, spec)
	})
	if err != nil || done {
		return err
	}
	return Bound(d, n, spec)
}

// reserved calls do, one caller at a time, on a host that keeps a part of its disk for
// itself.
func reserved(d guest.Dirs, do func(quota.Room, guest.Bytes) error) error {
	text, err := os.ReadFile(d.Reserve())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	room, err := quota.RoomOf(d.Data)
	if err != nil {
		return err
	}
	reserve, err := quota.ParseReserve(string(text), room.Total)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Reserve(), err)
	}
	l, err := store.Lock(d.Lock(".reserve"), state.Patience) // no guest can have that name
	if err != nil {
		return err
	}
	defer l.Release()
	return do(room, reserve)
}

func fits(d guest.Dirs, n guest.Name, spec *guest.Spec, room quota.Room, reserve guest.Bytes) error {
	names, err := store.Names(d.Config)
	if err != nil {
		return err
	}
	var running []quota.Claim
	for _, other := range names {
		if there, err := state.Grouped(d, other); err != nil || !there || other == n {
			if err != nil {
				return err
			}
			continue
		}
		theirs, err := state.Load(d, other)
		if err != nil {
			return err
		}
		c, err := claim(d, other, theirs)
		if err != nil {
			return err
		}
		running = append(running, c)
	}
	me, err := claim(d, n, spec)
	if err != nil {
		return err
	}
	me.Limit = spec.Limits.Disk
	return quota.Fits(room, reserve, me, running)
}

func claim(d guest.Dirs, n guest.Name, spec *guest.Spec) (quota.Claim, error) {
	c := quota.Claim{Name: n}
	if spec.Root.Device != "" {
		return c, nil // it takes nothing of the host's
	}
	return c, with(d, n, spec, func(a *quota.Area) error {
		st, err := a.Use()
		if err != nil || st == nil {
			return err
		}
		c.Limit = st.Limit
		c.Used, err = a.Taken(st)
		return err
	})
}

// Reserves tells whether the host keeps a part of its disk for itself.
func Reserves(d guest.Dirs) bool {
	there, err := file.Exists(d.Reserve())
	return there || err != nil
}
