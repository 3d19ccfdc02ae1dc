package network

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"vserver/guest"
	"vserver/host/state"
	"vserver/identity"
	"vserver/kernel/pidfd"
	"vserver/layer"
	"vserver/store"
)

// Guests find each other by name: each that runs has a line in the hosts file of every
// other, NAME and NAME.vs with its first address of each family. vserverd writes them, a
// moment after guests have started or ended: so no start waits for the files of others,
// and 500 that start at once are one round. Only what runs is named, as the kernel says;
// nothing is kept anywhere.

// Named writes the names of the guests that run into the files of each of them.
func Named(d guest.Dirs) error {
	all, err := store.Names(d.Config)
	if err != nil {
		return err
	}
	var lines []string
	running := map[guest.Name]*state.Note{}
	for _, n := range all {
		was, err := state.ReadNote(d, n)
		if err != nil || was == nil || was.Mode == guest.NetHost {
			continue // nobody, or one whose names are the host's own
		}
		if alive, err := state.Runs(d, n); err != nil || !alive {
			continue
		}
		running[n] = was
		for _, a := range known(d, n, was) {
			lines = append(lines, fmt.Sprintf("%s\t%s %s.vs", a, n, n))
		}
	}
	var errs []error
	for n, was := range running {
		if was.Mode == guest.NetNone {
			continue
		}
		if err := named(was, lines); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("%s: names: %w", n, err))
		}
	}
	return errors.Join(errs...)
}

// known gives the first address of each family that others reach a guest by.
func known(d guest.Dirs, n guest.Name, was *state.Note) (out []netip.Addr) {
	all, _ := Lease(d, n, was) // vserverd has said what is the matter with it
	for _, a := range was.Addrs {
		all = append(all, a.Prefix)
	}
	var four, six bool
	for _, a := range all {
		if has := map[bool]*bool{true: &four, false: &six}[a.Addr().Is4()]; !*has {
			*has = true
			out = append(out, a.Addr())
		}
	}
	return out
}

// named writes names into the hosts file of a guest that runs.
func named(was *state.Note, lines []string) error {
	return inRoot(was, func(r *layer.Root) error { return identity.ApplyNames(r, lines) })
}

// inRoot does something in the root of a guest that runs, as its init sees it.
func inRoot(was *state.Note, do func(*layer.Root) error) error {
	fd, err := pidfd.Open(was.PID)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if began, err := state.Born(was.PID); err != nil || began != was.Began {
		return errors.Join(err, syscall.ESRCH)
	}
	r, err := layer.Open(fmt.Sprintf("/proc/%d/root/", was.PID), nil, was.Base)
	if err != nil {
		return err
	}
	defer r.Close()
	return do(r)
}
