package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
)

// Node is a device that a guest may use, as this host has it.
type Node struct {
	Name         string // below /dev; "" when the guest's /dev has none
	Block        bool
	Major, Minor int // Minor may be guest.AnyMinor
	Perm         uint32
	Access       guest.Access
}

// Nodes looks the devices of a spec up on the host. The error is guest.ErrUnsupported
// when the host has no node of that name.
func Nodes(list []guest.Device) ([]Node, error) {
	var out []Node
	for _, d := range list {
		n, err := nodeOf(d)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func nodeOf(d guest.Device) (Node, error) {
	n := Node{Block: d.Block, Major: d.Major, Minor: d.Minor, Perm: 0o660, Access: d.Access}
	if d.Path == "" {
		if n.Minor != guest.AnyMinor {
			n.Name = nameOf(n)
		}
		return n, nil
	}
	n.Name = strings.TrimPrefix(d.Path, "/dev/")
	info, err := os.Stat(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.Hint(fmt.Errorf("device %s: not on this host: %w", d.Path, guest.ErrUnsupported), "its module may have to be loaded: `modprobe "+path.Base(d.Path)+"`")
	}
	if err != nil {
		return n, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode()&fs.ModeDevice == 0 {
		return n, fmt.Errorf("%s: is no device: %w", d.Path, guest.ErrInvalid)
	}
	n.Block = info.Mode()&fs.ModeCharDevice == 0
	n.Major, n.Minor = numbers(uint64(st.Rdev))
	n.Perm = uint32(info.Mode().Perm())
	if guest.Machine(n.Block, n.Major, n.Minor) {
		return n, fmt.Errorf("%s: is the machine's memory or ports: %w", d.Path, guest.ErrInvalid)
	}
	return n, nil
}

// numbers takes a device number apart (makedev(3)).
func numbers(dev uint64) (major, minor int) {
	return int(dev >> 8 & 0xfff), int(dev&0xff | dev>>12&0xfff00)
}

// number puts one together.
func (n Node) number() uint64 {
	major, minor := uint64(n.Major), uint64(n.Minor)
	return major<<8 | minor&0xff | minor&0xfff00<<12
}

// nameOf gives the name that the kernel has for a device, which is that of its node; ""
// when it has none now.
func nameOf(n Node) string {
	kind := "char"
	if n.Block {
		kind = "block"
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/%s/%d:%d/uevent", kind, n.Major, n.Minor))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME=")
		if d := (guest.Device{}); ok && d.UnmarshalText([]byte("/dev/"+name)) == nil {
			return name
		}
	}
	return ""
}

// PutNodes makes the nodes in a guest's /dev, owned by its root. What is there stays.
func PutNodes(dev *file.Dir, nodes []Node, base uint32) error {
	for _, n := range nodes {
		if n.Name == "" {
			continue
		}
		if err := n.put(dev, base); err != nil {
			return err
		}
	}
	return nil
}

func (n Node) put(dev *file.Dir, base uint32) error {
	at, err := dev.Again()
	if err != nil {
		return err
	}
	defer func() { at.Close() }()
	names := strings.Split(n.Name, "/")
	for _, d := range names[:len(names)-1] {
		below, err := directory(at, d, base)
		if err != nil {
			return err
		}
		at.Close()
		at = below
	}
	name := names[len(names)-1]
	err = at.Mknod(name, n.kind()|n.Perm, n.number())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	e, err := at.Entry(name)
	if err != nil {
		return err
	}
	defer e.Close()
	// A guest that runs may have put something else there since.
	if st, err := e.Stat(); err != nil || st.Type() != n.kind() || st.Rdev != n.number() {
		return errors.Join(err, fmt.Errorf("%s: is another file: %w", e.Path(), guest.ErrBusy))
	}
	if err := e.Chown(base, base); err != nil {
		return err
	}
	return e.Chmod(n.Perm)
}

// directory opens a directory, and makes it first when it is not there.
func directory(at *file.Dir, name string, base uint32) (*file.Dir, error) {
	made := at.Mkdir(name, 0o755)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return nil, made
	}
	below, err := at.Dir(name)
	if err != nil || made != nil {
		return below, err
	}
	e, err := below.SelfEntry()
	if err != nil {
		below.Close()
		return nil, err
	}
	defer e.Close()
	// A guest that runs may have put another there since, which is not ours to give.
	mine, err1 := at.Self()
	st, err2 := e.Stat()
	if err1 == nil && err2 == nil && st.Dev == mine.Dev && st.UID == uint32(os.Geteuid()) {
		err = e.Chown(base, base)
	}
	return below, errors.Join(err, err1, err2)
}

// kind is the type of the node's file.
func (n Node) kind() uint32 {
	if n.Block {
		return syscall.S_IFBLK
	}
	return syscall.S_IFCHR
}

// TakeNodes removes the nodes from a guest's /dev, as far as they are there.
func TakeNodes(dev *file.Dir, nodes []Node) error {
	for _, n := range nodes {
		if n.Name == "" {
			continue
		}
		at, name, err := dev.Parent(n.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if st, err := at.Stat(name); err == nil && st.Rdev == n.number() && st.Type() == n.kind() {
			err = at.Unlink(name)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				at.Close()
				return err
			}
		}
		at.Close()
	}
	return nil
}

// fill puts the nodes into a /dev that is not attached yet, by its descriptor.
func fill(fd int, nodes []Node, base int) error {
	if len(nodes) == 0 {
		return nil
	}
	dir, err := file.OpenDir("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return err
	}
	defer dir.Close()
	return PutNodes(dir, nodes, uint32(base))
}
