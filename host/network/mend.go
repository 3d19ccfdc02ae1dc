package network

import (
	"context"
	"errors"

	"vserver/guest"
	"vserver/host/state"
	"vserver/ncontext"
	"vserver/store"
)

// Mend has what guests have in the packet filter of the host stay there, until ctx ends: what
// is gone, as after `nft flush ruleset`, is put back at once. What goes wrong is said.
func Mend(ctx context.Context, d guest.Dirs, say func(format string, args ...any)) error {
	return ncontext.Flushed(ctx, func() {
		if err := ncontext.MendParked(d); err != nil {
			say("packet filter: %v", err)
		}
		all, err := store.Names(d.Config)
		if err != nil {
			say("%v", err)
		}
		for _, n := range all {
			if err := mend(d, n); err != nil && ctx.Err() == nil {
				say("%s: packet filter: %v", n, err)
			}
		}
	})
}

// mend puts back what is gone of one guest, if that runs.
func mend(d guest.Dirs, n guest.Name) error {
	if was, err := state.ReadNote(d, n); err != nil || was == nil {
		return err
	}
	unlock, err := state.Lock(d, n) // not while it starts or ends
	if err != nil {
		return err
	}
	defer unlock()
	was, err := state.ReadNote(d, n)
	if err != nil || was == nil || was.Mode != guest.NetShared && was.Mode != guest.NetPrivate {
		return err
	}
	if runs, err := state.Runs(d, n); err != nil || !runs {
		return err
	}
	g, err := left(d, n)
	if err != nil {
		return err
	}
	c := g.context()
	if was.Mode == guest.NetShared {
		return ncontext.Mend(c)
	}
	if spec, err := state.Load(d, n); err != nil || spec.Network.Mode != was.Mode {
		return err
	}
	netns, err := networkOf(was.PID)
	if errors.Is(err, guest.ErrStopped) {
		return nil
	}
	if err != nil {
		return err
	}
	defer netns.Close()
	c.Netns = int(netns.Fd())
	return ncontext.Mend(c)
}
