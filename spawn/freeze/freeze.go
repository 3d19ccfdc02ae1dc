// Package freeze has the processes of a control group stand still for a while.
package freeze

import (
	"path/filepath"

	"vserver/kernel/cgroup"
	"vserver/spawn"
)

// Hold freezes a group until release, which is to be called whatever the error. A process
// watches over that: should this one be killed, it lets the group go on. A group that is
// frozen is somebody else's, who will thaw it. The error is guest.ErrBusy when not all of its
// processes can stand still now.
func Hold(g *cgroup.Group) (release func() error, err error) {
	release = func() error { return nil }
	if frozen, err := g.Frozen(); frozen || err != nil {
		return release, err
	}
	table := &spawn.Table{}
	table.Session() // what ends us from a terminal must not end it
	table.Watch()
	table.WriteFile(filepath.Join(g.Path(), "cgroup.freeze"), "0")
	table.End()
	c, err := spawn.Start(table, spawn.Options{Cgroup: -1})
	if err != nil {
		return release, err
	}
	release = func() error {
		err := g.Freeze(false)
		c.Kill()
		c.Close()
		return err
	}
	return release, g.Freeze(true)
}
