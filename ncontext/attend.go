package ncontext

import (
	"context"

	"vserver/guest"
	"vserver/ncontext/private"
)

// Attended tells whether there is something for Attend to do for a guest that runs.
func Attended(dirs guest.Dirs, n guest.Name) bool { return private.Attended(dirs, n) }

// Attend does for a guest that runs what its start had no time for, until ctx ends: it
// gets and keeps its lease, and tells the host's neighbours where its addresses are.
// What goes wrong is said, and tried again.
func Attend(ctx context.Context, g *Guest, say func(format string, args ...any)) {
	if g.Spec.Network.Mode == guest.NetPrivate {
		private.Attend(ctx, private.Guest{Spec: g.Spec, Name: g.Name, Netns: g.Netns, Dirs: g.Dirs, Resolve: g.Resolve}, say)
	}
}
