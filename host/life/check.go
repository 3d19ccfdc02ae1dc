package life

import (
	"errors"

	"vserver/guest"
	"vserver/host/state"
	"vserver/pool"
)

// Check gives the error that a start would end with for a guest that runs, once it has ended, as
// far as that can be told before: of one that is being started or stopped it cannot. Nothing is
// changed. It is guest.ErrStopped for one that does not run.
func Check(d guest.Dirs, n guest.Name) error {
	stopped := func() error {
		running, err := state.Runs(d, n)
		if err == nil && !running {
			err = guest.ErrStopped
		}
		return err
	}
	if err := stopped(); err != nil {
		return err
	}
	// While it is started or stopped it has half of what it has.
	var checked error
	err := state.Locked(d, n, state.Patience, func() error {
		if checked = stopped(); checked == nil {
			checked = check(d, n)
		}
		return nil
	})
	if errors.Is(err, guest.ErrBusy) {
		return nil
	}
	return errors.Join(err, checked)
}

func check(d guest.Dirs, n guest.Name) error {
	spec, err := state.Load(d, n)
	if err != nil {
		return err
	}
	r, err := starting(d, n, spec, StartOptions{})
	if err != nil {
		return err
	}
	for image := range r.images {
		if _, err := pool.Open(d.Pool()).Resolve(image); err != nil {
			return err
		}
	}
	return errors.Join(r.elders(), r.net.Check())
}
