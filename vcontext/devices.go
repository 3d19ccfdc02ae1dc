package vcontext

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"vserver/bpf"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/ebpf"
	"vserver/kernel/file"
	"vserver/rootfs"
)

// Guarded tells whether a guest's devices need a list. With a user namespace and no
// wishes it has none: what nodes it could come by it cannot make, and the host made no
// others. Without a user namespace a node in its files would be the host's device.
func Guarded(s *guest.Spec) bool {
	return s.Userns == guest.UsernsNone || len(s.Rights.Devices) > 0 || s.MakesNodes()
}

// Guard has the kernel refuse all devices but those of the spec to the processes of the
// guest's group, at once and in the place of an earlier list. The list goes with the
// group. The error is guest.ErrUnsupported where the kernel has no such programs.
func Guard(group *cgroup.Group, s *guest.Spec) error {
	nodes, err := rootfs.Nodes(s.Rights.Devices)
	if err != nil {
		return err
	}
	rules := rulesFor(nodes, s)
	program, err := ebpf.LoadProgram(bpf.DeviceHook(), bpf.DeviceName, bpf.Devices(rules))
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS) {
		err = fmt.Errorf("device list: CONFIG_CGROUP_BPF: %w: %w", err, guest.ErrUnsupported)
	}
	if err != nil {
		return err
	}
	defer syscall.Close(program)
	old, err := guarding(group)
	if err != nil {
		return err
	}
	if old >= 0 {
		defer syscall.Close(old)
	}
	return ebpf.AttachCgroup(group.FD(), program, bpf.DeviceHook().Attach, old)
}

// guarding opens the list that a group has; -1 when it has none.
func guarding(group *cgroup.Group) (fd int, err error) {
	ids, err := ebpf.Attached(group.FD(), bpf.DeviceHook().Attach)
	if err != nil {
		return -1, err
	}
	for _, id := range ids {
		fd, err := ebpf.OpenProgram(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return -1, err
		}
		if d, err := ebpf.Describe(fd); err == nil && d.Name == bpf.DeviceName {
			return fd, nil
		}
		syscall.Close(fd)
	}
	return -1, nil
}

// Harmless are the devices that every guest has, and may make nodes of when it may make
// any: null, zero, full, random, urandom, tty, ptmx. Of the console (5:1) it may make a
// node, as tools for containers do, and not open it: it is the host's.
func Harmless() []rootfs.Node {
	const use = guest.MayRead | guest.MayWrite
	var list []rootfs.Node
	for _, minor := range []int{3, 5, 7, 8, 9} {
		list = append(list, rootfs.Node{Major: 1, Minor: minor, Access: use | guest.MayMknod})
	}
	return append(list,
		rootfs.Node{Major: 5, Minor: 0, Access: use | guest.MayMknod},
		rootfs.Node{Major: 5, Minor: 1, Access: guest.MayMknod},
		rootfs.Node{Major: 5, Minor: 2, Access: use | guest.MayMknod})
}

func rulesFor(nodes []rootfs.Node, s *guest.Spec) (rules []bpf.DeviceRule) {
	const use = guest.MayRead | guest.MayWrite
	list := append(Harmless(), rootfs.Node{Major: 136, Minor: guest.AnyMinor, Access: use}) // UNIX98_PTY_SLAVE_MAJOR
	if caps, err := s.Network.NetCaps(); err == nil && caps&guest.TunCreate != 0 {
		list = append(list, rootfs.Node{Major: 10, Minor: 200, Access: use}) // /dev/net/tun
	}
	for _, n := range append(list, nodes...) {
		rules = append(rules, bpf.DeviceRule{Block: n.Block, Major: n.Major, Minor: n.Minor, Access: uint8(n.Access)})
	}
	return rules
}

// Makes tells whether a guest with these devices may make a node of one.
func Makes(nodes []rootfs.Node, block bool, major, minor int) bool {
	for _, n := range append(Harmless(), nodes...) {
		if n.Block == block && n.Major == major && (n.Minor == minor || n.Minor == guest.AnyMinor) && n.Access&guest.MayMknod != 0 {
			return true
		}
	}
	return false
}

// ChangeDevices gives a running guest the devices of another spec: the list, and in its
// /dev the nodes that are new, without those that are not wanted any more. pid is its
// init, base the host id of its root.
func ChangeDevices(group *cgroup.Group, pid int, base uint32, old []guest.Device, now *guest.Spec) error {
	was, err := rootfs.Nodes(old)
	if err != nil {
		was = nil // the host has lost one of them
	}
	wanted, err := rootfs.Nodes(now.Rights.Devices)
	if err != nil {
		return err
	}
	if err := Guard(group, now); err != nil {
		return err
	}
	root, err := file.OpenDir(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return err
	}
	defer root.Close()
	dev, err := root.Dir("dev")
	if err != nil {
		return err
	}
	defer dev.Close()
	var gone []rootfs.Node
	for _, n := range was {
		kept := false
		for _, w := range wanted {
			kept = kept || w.Name == n.Name
		}
		if !kept {
			gone = append(gone, n)
		}
	}
	return errors.Join(rootfs.TakeNodes(dev, gone), rootfs.PutNodes(dev, wanted, base))
}
