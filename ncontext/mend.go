package ncontext

import (
	"context"
	"errors"

	"vserver/guest"
	"vserver/kernel/nft"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private"
	"vserver/ncontext/shared"
)

// Flushed calls back when somebody has flushed the packet filter of the host, and once at the
// beginning, until ctx ends.
func Flushed(ctx context.Context, mend func()) error { return nft.Gone(ctx, firewall.TableName, mend) }

// Mend puts back what a guest that runs has in the packet filter of the host, where it is
// gone. It takes some questions when nothing is.
func Mend(g *Guest) error {
	lost, err := Unfiltered(g)
	if err != nil {
		return err
	}
	tell := firewall.Up
	if !lost { // one that has rules has them; one that has none asks for little
		tell = func(f firewall.Guest) error {
			if f.Asked() {
				return nil
			}
			return firewall.Up(f)
		}
	}
	switch g.Spec.Network.Mode {
	case guest.NetShared:
		warning, err := g.filter(tell)
		return errors.Join(warning, err)
	case guest.NetPrivate:
		return private.Mend(private.Guest{Spec: g.Spec, Name: g.Name, Netns: g.Netns, Dirs: g.Dirs}, tell)
	}
	return nil
}

// MendParked puts back what leads the packets of parked sockets, and of those at loopback,
// where it is gone.
func MendParked(dirs guest.Dirs) error {
	set, err := shared.Find(dirs)
	if errors.Is(err, guest.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer set.Close()
	k, err := set.Kept()
	if err != nil {
		return err
	}
	return keep(k)
}

// keep has the packet filter do what sockets of guests need.
func keep(k shared.Kept) error {
	var errs []error
	if k.Parked || k.Connected {
		errs = append(errs, firewall.Parked(k.Connected))
	}
	if k.Looped {
		errs = append(errs, firewall.Looped())
	}
	return errors.Join(errs...)
}
