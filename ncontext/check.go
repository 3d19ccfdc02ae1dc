package ncontext

import (
	"vserver/guest"
	"vserver/ncontext/private"
	"vserver/ncontext/shape"
	"vserver/ncontext/shared"
)

// Check gives the error that Up would end with for a guest that runs, once it has ended, as far
// as the host's network tells it now. Nothing is changed.
func Check(g *Guest) error {
	w := Want(g)
	switch g.Spec.Network.Mode {
	case guest.NetShared:
		if err := shared.Check(w); err != nil {
			return err
		}
	case guest.NetPrivate:
		leaving, err := shared.Addresses(w.World, w.XID)
		if err == nil {
			err = private.Check(private.Guest{Spec: g.Spec, Name: g.Name, Netns: -1, Dirs: g.Dirs}, leaving)
		}
		if err != nil {
			return err
		}
	default:
		return nil
	}
	return shape.Check(g.shaping())
}
