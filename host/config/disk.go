package config

import (
	"slices"

	"vserver/guest"
	"vserver/host/disk"
	"vserver/host/state"
)

// sized tells the settings that the file system holds, at once and whether the guest runs
// or not.
func sized(path string) bool { return path == "limits.disk" || path == "limits.inodes" }

// resize has the file system hold the limits of a spec that is about to be written. It
// comes before, so that one that cannot be held is not written.
func resize(d guest.Dirs, n guest.Name, c *Change, spec *guest.Spec) error {
	if !slices.ContainsFunc(c.Paths, sized) {
		return nil
	}
	running, err := state.Runs(d, n)
	if err != nil {
		return err
	}
	full := spec.WithDefaults(n)
	return disk.Change(d, n, &full, running)
}

// unsize takes resize back; old is nil when nobody knows what was before.
func unsize(d guest.Dirs, n guest.Name, c *Change, old *guest.Spec) error {
	if old == nil || !slices.ContainsFunc(c.Paths, sized) {
		return nil
	}
	full := old.WithDefaults(n)
	return disk.Bound(d, n, &full)
}
