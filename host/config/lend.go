package config

import (
	"errors"
	"fmt"
	"slices"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/network"
	"vserver/host/state"
	"vserver/store/settings"
)

// Lend gives a guest that runs other limits than its spec says, until it ends or its spec
// is changed. Limits of the disk stay longer: the file system keeps them.
func Lend(d guest.Dirs, n guest.Name, changes []string) error {
	unlock, err := state.Lock(d, n)
	if err != nil {
		return err
	}
	defer unlock()
	path := d.Spec(n)
	text, err := wanted(d, n)
	if err != nil {
		return err
	}
	if running, err := state.Runs(d, n); err != nil || !running {
		return errors.Join(err, guest.ErrStopped)
	}
	old, err := settings.Parse(path, text)
	if err != nil {
		return err
	}
	text, paths, err := settings.Apply(path, text, changes)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(paths, func(p string) bool { return !limited(p) && !counted(p) }); i >= 0 {
		return fault.Hint(fmt.Errorf("%s: cannot be changed while it runs: %w", paths[i], guest.ErrUnsupported),
			"vserver "+string(n)+" set "+paths[i]+"=VALUE is for its next start")
	}
	now, err := settings.Parse(path, text)
	if err != nil {
		return err
	}
	wait, err := relimit(d, n, old, now, paths)
	if err == nil && slices.ContainsFunc(paths, counted) {
		err = network.Bound(d, n, &now.Network)
	}
	if err == nil && len(wait) > 0 {
		err = fmt.Errorf("%s: cannot be raised while it runs: %w", wait[0], guest.ErrUnsupported)
	}
	if err != nil {
		return errors.Join(err, unlimit(d, n, old, now, paths))
	}
	return nil
}
