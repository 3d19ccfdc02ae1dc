package bpf

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"syscall"

	"vserver/guest"
	"vserver/kernel/btf"
	"vserver/kernel/ebpf"
)

// Names says where this kernel keeps the names of control groups, beside Tasks: offsets in
// bytes.
type Names struct {
	Tasks
	Name int32 // in kernfs_node
}

// mountable are the modules of file systems that root of a user namespace may mount.
func mountable() []string { return []string{"fs-overlay", "fs-fuse", "fs-binfmt_misc"} }

// The stack of Modules: what is asked for, and the name of a group.
const (
	modulesAsked = -16
	modulesGroup = -32 - syscall.NAME_MAX - 1
)

// Modules keeps guests from having modules of file systems loaded: mount(2) and fsopen(2)
// take any name, and the kernel asks for the module fs-NAME before it asks who may mount
// such a file system. It is called with each request for a module, and what it returns
// comes of that. group is the name of the control group of all guests, whose own are at
// level:
//
//	if the user is the host's: pass
//	if the module is none of a file system, or of one that a guest may mount: pass
//	if the process is in no group at level, or that above it has another name: pass
//	refuse
func Modules(l Names, group string, level int32) []ebpf.Instruction {
	t := &text{}
	t.load8(addr, r1, 0)
	t.call(ebpf.CurrentUIDGID)
	t.add(ebpf.JumpIf(r0, ebpf.Below, guest.IDs, "pass"))
	t.name(modulesAsked, -modulesAsked, addr)
	t.load(r1, fp, modulesAsked)
	t.add(ebpf.And32(r1, word("\xff\xff\xff")))
	t.isnt(r1, word("fs-"), "pass")
	for _, name := range mountable() {
		next := t.label("next")
		t.differs(modulesAsked, name, next)
		t.jump("pass")
		t.here(next)
	}
	t.set(r1, level)
	t.call(ebpf.CurrentAncestorCgroupID)
	t.null(r0, "pass")
	t.chase(l.Cgroups, l.Group, l.Ancestors+8*(level-1), l.Node, l.Name)
	t.name(modulesGroup, syscall.NAME_MAX+1, r0)
	t.differs(modulesGroup, group, "pass")
	t.set(r0, -int32(syscall.EPERM))
	t.add(ebpf.Exit())
	t.here("pass")
	t.set(r0, 0)
	t.add(ebpf.Exit())
	return ebpf.Reached(t.code)
}

// name copies a text of the kernel's to the stack, where there is room for size bytes.
func (t *text) name(to, size int32, from ebpf.Register) {
	t.mov(r3, from)
	t.stack(r1, to)
	t.set(r2, size)
	t.call(ebpf.ProbeReadKernelStr)
}

// differs goes to a label when the text on the stack is another.
func (t *text) differs(at int16, want string, label string) {
	for all := append([]byte(want), 0); len(all) > 0; at += 4 {
		n := min(4, len(all))
		some := string(all[:n])
		t.load(r1, fp, at)
		if n < 4 { // what is behind the end is not the text's
			t.add(ebpf.And32(r1, word("\xff\xff\xff"[:n])))
		}
		t.isnt(r1, word(some), label)
		all = all[n:]
	}
}

// word is how the machine has up to four bytes of memory in a register.
func word(s string) int32 {
	var b [4]byte
	copy(b[:], s)
	return int32(binary.NativeEndian.Uint32(b[:]))
}

// KeepModules attaches Modules for the guests whose groups are in that at path and are at
// level, for as long as anybody holds the descriptor. The error is guest.ErrUnsupported
// where the kernel has no such place for a program, or no modules.
func KeepModules(group string, level int32) (attached int, err error) {
	if _, err := os.Stat("/proc/modules"); err != nil {
		return -1, fmt.Errorf("%w: %w", err, guest.ErrUnsupported)
	}
	types, err := btf.Kernel()
	if err != nil {
		return -1, fmt.Errorf("kernel types: %w: %w", err, guest.ErrUnsupported)
	}
	var l Names
	if err := find(types, append(l.groups(), field{&l.Name, "kernfs_node", "name"})); err != nil {
		return -1, err
	}
	number, err := types.Func("security_kernel_module_request")
	if err != nil {
		return -1, fmt.Errorf("%w: %w", err, guest.ErrUnsupported)
	}
	const modify = 26 // BPF_MODIFY_RETURN
	hook := ebpf.Hook{Type: tracing, Attach: modify, Target: number}
	prog, err := ebpf.LoadProgram(hook, "vserver_modules", Modules(l, path.Base(group), level))
	if err != nil {
		return -1, fmt.Errorf("%w: %w", err, guest.ErrUnsupported)
	}
	defer syscall.Close(prog)
	return ebpf.Link(0, prog, hook.Attach)
}
