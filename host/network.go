package host

import (
	"context"

	"vserver/kernel/ns"
	"vserver/ncontext"
)

// networkUp connects the guest's own network namespace to the host's.
func (r *run) networkUp(context.Context) error {
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	netns, err := ns.Open(pid, "net")
	if err != nil {
		return err
	}
	defer netns.Close()
	return ncontext.Up(&r.spec, r.name, int(netns.Fd()), r.h.Dirs)
}

func (r *run) networkDown() error { return ncontext.Down(r.spec.XID, r.h.Dirs) }
