package ncontext

import (
	"context"
	"net/netip"
	"os"

	"vserver/guest"
	"vserver/ncontext/private"
)

// Attended tells whether there is something for Attend to do for a guest that runs.
func Attended(dirs guest.Dirs, n guest.Name) bool { return private.Attended(dirs, n) }

// Lease gives the IPv4 addresses that a guest has by DHCP, and what was said of that last, which is
// "" for a guest without. netns opens its namespace.
func Lease(dirs guest.Dirs, n guest.Name, netns func() (*os.File, error)) (now []netip.Prefix, word string, err error) {
	if word = private.Said(dirs, n); word == "" {
		return nil, "", nil
	}
	f, err := netns()
	if err != nil {
		return nil, word, err
	}
	defer f.Close()
	now, err = private.Leased(int(f.Fd()))
	return now, word, err
}

// Attend does for a guest that runs what its start had no time for, until ctx ends: it
// gets and keeps its lease, and tells the host's neighbours where its addresses are.
// What goes wrong is said, and tried again.
func Attend(ctx context.Context, g *Guest, say func(format string, args ...any)) {
	if g.Spec.Network.Mode == guest.NetPrivate {
		private.Attend(ctx, private.Guest{Spec: g.Spec, Name: g.Name, Netns: g.Netns, Dirs: g.Dirs, Resolve: g.Resolve, Moved: g.Moved}, say)
	}
}
