package rootfs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/ns"
	"vserver/spawn"
)

// idmap gives a user namespace that has the ids of one guest for those of another, to be
// the map of a mount. The process that it is made for ends before anything runs in it.
func idmap(from, to uint32) (*os.File, error) {
	return mapped(fmt.Sprintf("%d %d %d", from, to, guest.IDs))
}

// only gives one that has these ids alone; those of the guest begin at base.
func only(pairs []guest.IDPair, base uint32) (*os.File, error) {
	var lines strings.Builder
	for _, p := range pairs {
		fmt.Fprintf(&lines, "%d %d 1\n", p.Disk, base+p.Guest)
	}
	return mapped(lines.String())
}

// mapped gives a user namespace with these lines of a map.
func mapped(lines string) (*os.File, error) {
	t := &spawn.Table{}
	t.Await("nothing")
	c, err := spawn.Start(t, spawn.Options{Flags: spawn.NewUser, Cgroup: -1, Share: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer c.Kill()
	if err := ns.MapIDs(c.First(), lines); err != nil {
		return nil, err
	}
	return ns.Open(c.First(), "user")
}

// noIDs says of a shared tree that its mount could not be made, and of a file system that
// shows no other ids what can be done.
func noIDs(path string, o Owner, err error) error {
	out := fmt.Errorf("%s: %w", path, err)
	if o.Userns < 0 || !errors.Is(err, syscall.EINVAL) {
		return out
	}
	return fault.Hint(fmt.Errorf("%s: its file system shows no other ids: %w", path, err),
		"tmpfs does since Linux 6.3, see vserver check; a guest with root.kind dir needs none: vserver build --root dir --method debootstrap")
}

// IDs gives a user namespace whose ids begin at base on the host, for the root of a guest
// that does not run (Owner.Userns).
func IDs(base uint32) (*os.File, error) { return idmap(0, base) }
