package cgroup

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ServerLeaf is the group below a guest's own for the tool's processes that serve the
// guest alone. They bear its limits and its network context, freeze and are killed
// with it; but the guest cannot change the group, and they are not counted as the
// guest's processes: see Populated and Procs. A group of that name which the guest has
// made is one like others.
const ServerLeaf = "vserver.server"

// serverMark is the attribute of a group that OpenServer has made. Root of a user namespace
// cannot set one of trusted, nor can that of a guest without, for want of the capability.
const serverMark = "trusted.vserver.server"

// OpenServer makes the group ServerLeaf below g, unless it is there, and opens it. The error
// is fs.ErrExist when the guest has made it.
func OpenServer(g *Group) (*Group, error) {
	err := mkdir(g.fd, ServerLeaf, 0o755)
	if err != nil && err != unix.EEXIST {
		return nil, g.fail("mkdir", ServerLeaf, err)
	}
	leaf, err := g.below(ServerLeaf)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(leaf.fd, &st); err == nil && st.Uid != 0 {
		err = unix.EEXIST
	}
	if err == nil {
		err = unix.Fsetxattr(leaf.fd, serverMark, []byte("1"), 0)
	}
	if err != nil {
		leaf.Close()
		return nil, g.fail("make", ServerLeaf, err)
	}
	return leaf, nil
}

// serves tells whether a group is one that OpenServer has made.
func serves(fd int, name string) bool {
	if name != ServerLeaf {
		return false
	}
	_, err := unix.Fgetxattr(fd, serverMark, nil)
	return err == nil
}

// below opens the group name right below g; "." is g once more.
func (g *Group) below(name string) (*Group, error) {
	fd, err := openat(g.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, g.fail("open", name, err)
	}
	return &Group{fd: fd, path: filepath.Join(g.path, name), rel: filepath.Join(g.rel, name), tree: g.tree}, nil
}

// Servers gives the processes in the group ServerLeaf below g, sorted.
func (g *Group) Servers() ([]int, error) {
	leaf, err := g.below(ServerLeaf)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer leaf.Close()
	if !serves(leaf.fd, ServerLeaf) {
		return nil, nil
	}
	return leaf.Procs()
}

// Occupied says whether any process lives in the group or below it, servers included.
func (g *Group) Occupied() (bool, error) { return g.event("populated") }

// Populated says whether a process of the guest's lives in the group or below it. A
// zombie does not, and a server does not count.
func (g *Group) Populated() (bool, error) {
	on, err := g.event("populated")
	if err != nil || !on || !g.has(ServerLeaf) {
		return on, err
	}
	// Somebody is there: find one who is no server.
	text, err := readAt(g.fd, "cgroup.procs")
	if err == nil && len(text) > 0 {
		return true, nil
	}
	found := false
	err = children(g.fd, 0, func(child int, name string) error {
		if found || serves(child, name) {
			return nil
		}
		text, err := readAt(child, "cgroup.events")
		v, _ := value(text, "populated")
		found = string(v) == "1"
		return err
	})
	return found, g.fail("read", "cgroup.events", gone(err))
}

func (g *Group) has(name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(g.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}
