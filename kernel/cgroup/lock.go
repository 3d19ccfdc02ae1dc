package cgroup

import (
	"errors"

	"golang.org/x/sys/unix"

	"vserver/guest"
)

// Share keeps others from seizing the group until it is closed or unshared. It waits for
// one that has seized it, who may have removed it then.
func (g *Group) Share() error { return g.flock(unix.LOCK_SH) }

// Seize keeps others from sharing the group until it is closed or unshared. The error is
// guest.ErrBusy when another has it shared; ours is not shared any more then.
func (g *Group) Seize() error {
	err := g.flock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return g.fail("lock", "", guest.ErrBusy)
	}
	return err
}

// Unshare ends Share and Seize of the group.
func Unshare(g *Group) error { return g.flock(unix.LOCK_UN) }

func (g *Group) flock(how int) error {
	err := retry(func() error { return unix.Flock(g.fd, how) })
	if err != nil {
		return g.fail("lock", "", err)
	}
	return nil
}
