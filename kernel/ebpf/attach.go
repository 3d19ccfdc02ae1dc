package ebpf

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AttachCgroup puts a program at a cgroup, given by the descriptor of its directory,
// beside those of others, and for as long as the cgroup is there. When replace is not
// negative it is the descriptor of a program that is there, whose place it takes: at
// no moment is there none or both.
func AttachCgroup(cgroup, program int, attach uint32, replace int) error {
	attr := struct{ target, program, attach, flags, replace uint32 }{
		uint32(cgroup), uint32(program), attach, unix.BPF_F_ALLOW_MULTI, 0}
	if replace >= 0 {
		attr.flags, attr.replace = attr.flags|unix.BPF_F_REPLACE, uint32(replace)
	}
	_, err := call("attach to cgroup", unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// DetachCgroup takes a program from a cgroup.
func DetachCgroup(cgroup, program int, attach uint32) error {
	attr := struct{ target, program, attach, flags uint32 }{uint32(cgroup), uint32(program), attach, 0}
	_, err := call("detach from cgroup", unix.BPF_PROG_DETACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// Attached gives the ids of the programs at a cgroup or, for BPF_SK_LOOKUP, in a
// network namespace, given by a descriptor.
func Attached(target int, attach uint32) ([]uint32, error) {
	const most = 64 // BPF_CGROUP_MAX_PROGS
	ids := make([]byte, 4*most)
	attr := struct {
		target, attach, flags, attachFlags uint32
		ids                                uint64
		count, _                           uint32
		programFlags                       uint64
	}{target: uint32(target), attach: attach, ids: address(ids), count: most}
	_, err := call("ask for programs", unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(ids)
	if err != nil {
		return nil, err
	}
	out := make([]uint32, attr.count)
	for i := range out {
		out[i] = binary.NativeEndian.Uint32(ids[4*i:])
	}
	return out, nil
}

// Link attaches a program to what the descriptor target stands for, for as long as
// somebody holds the link's descriptor or a pin of it.
func Link(target, program int, attach uint32) (fd int, err error) {
	attr := struct{ program, target, attach, flags uint32 }{uint32(program), uint32(target), attach, 0}
	return call("link", unix.BPF_LINK_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// Relink puts another program in the place of a link's, at once.
func Relink(link, program int) error {
	attr := struct{ link, program, flags, old uint32 }{uint32(link), uint32(program), 0, 0}
	_, err := call("update link", unix.BPF_LINK_UPDATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// LinkedProgram gives the id of the program of a link to a network namespace, and that
// namespace's inode, which is 0 when it is gone.
func LinkedProgram(link int) (id, namespace uint32, err error) {
	info := struct {
		kind, id, program, _ uint32
		netns, attach        uint32
		_                    [10]uint32 // of other kinds of links
	}{}
	attr := struct {
		fd, size uint32
		info     uint64
	}{uint32(link), uint32(unsafe.Sizeof(info)), fixed(uintptr(unsafe.Pointer(&info)))}
	_, err = call("describe link", unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(&info)
	return info.program, info.netns, err
}

// Pin gives an object a name in a BPF file system, which keeps it. The error is EEXIST
// when the name is taken.
func Pin(fd int, path string) error {
	_, err := pinned("pin "+path, unix.BPF_OBJ_PIN, path, fd)
	return err
}

// OpenPin opens what has a name in a BPF file system.
func OpenPin(path string) (fd int, err error) {
	return pinned("open pin "+path, unix.BPF_OBJ_GET, path, 0)
}

func pinned(what string, cmd uintptr, path string, fd int) (int, error) {
	name := append([]byte(path), 0)
	attr := struct {
		name      uint64
		fd, flags uint32
	}{address(name), uint32(fd), 0}
	n, err := call(what, cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(name)
	return n, err
}
