package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/kernel/btf"
	"vserver/kernel/ebpf"
	"vserver/kernel/file"
)

// Watched is how many processes can be watched at once.
const Watched = 32768

// Notes are the ends of processes as Ended saw them. What it holds is two
// descriptors: the map, and the attachment, which lasts as long as anybody has it.
type Notes struct {
	Map, Attached int
}

// WatchEnds attaches Ended. The error is guest.ErrUnsupported on a kernel without
// type information (CONFIG_DEBUG_INFO_BTF).
func WatchEnds() (*Notes, error) {
	layout, err := FindLayout()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("kernel types: %w: %w", err, guest.ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	m, err := ebpf.NewMap(ebpf.MapSpec{Name: "vserver_ended", Kind: ebpf.Hash, Key: keySize, Value: noteSize, Entries: Watched})
	if err != nil {
		return nil, err
	}
	prog, err := ebpf.LoadRawTracepoint("vserver_ended", Ended(m, layout))
	if err != nil {
		syscall.Close(m)
		return nil, err
	}
	defer syscall.Close(prog)
	link, err := ebpf.AttachRawTracepoint("sched_process_exit", prog)
	if err != nil {
		syscall.Close(m)
		return nil, err
	}
	return &Notes{m, link}, nil
}

// Close ends the watch, unless another process holds the descriptors too.
func (n *Notes) Close() error { return errors.Join(syscall.Close(n.Map), syscall.Close(n.Attached)) }

// Watch asks for a note on the end of the process pid, a number of the initial pid
// namespace. A process that is watched already, or was, keeps its note until Forget.
func (n *Notes) Watch(pid int) error {
	if err := ebpf.Insert(n.Map, key(pid), make([]byte, noteSize)); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Forget drops the process from the map.
func (n *Notes) Forget(pid int) error {
	if err := ebpf.Delete(n.Map, key(pid)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Read gives the wait status of a watched process; ok is false when it has not ended.
// The status of a pid namespace's init which reboot(2) took down is SIGHUP (restart)
// or SIGINT (halt, power off), as its parent sees it.
func (n *Notes) Read(pid int) (status syscall.WaitStatus, ok bool) {
	note := make([]byte, noteSize)
	if err := ebpf.Get(n.Map, key(pid), note); err != nil {
		return 0, false
	}
	return decode(note)
}

func key(pid int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(pid)) }

func decode(note []byte) (syscall.WaitStatus, bool) {
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(note[at:]) }
	status := word(noteCode)
	if r := word(noteReboot); r != 0 {
		status = r
	}
	return syscall.WaitStatus(status), word(noteSeen) != 0
}

// FindLayout reads the running kernel's type information: some 10 ms of work, and
// megabytes while it lasts.
func FindLayout() (l Layout, err error) {
	types, err := btf.Kernel()
	if err != nil {
		return l, err
	}
	err = find(types, []field{
		{&l.ExitCode, "task_struct", "exit_code"},
		{&l.ThreadPID, "task_struct", "thread_pid"},
		{&l.Level, "pid", "level"},
		{&l.Numbers, "pid", "numbers"},
		{&l.Namespace, "upid", "ns"},
		{&l.Reboot, "pid_namespace", "reboot"},
	})
	if err != nil {
		return l, err
	}
	l.UpidSize, err = types.Size("upid")
	l.Pointer = ebpf.Pointer(strconv.IntSize)
	return l, err
}

// FindTasks reads the running kernel's type information, as FindLayout does. It is all
// zeros on a kernel that has none.
func FindTasks() (l Tasks, err error) {
	types, err := btf.Kernel()
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	l.Unix = findSockets(types)
	return l, find(types, append(l.groups(),
		field{&l.Cred, "task_struct", "cred"},
		field{&l.Effective, "cred", "cap_effective"},
		field{&l.NodeID, "kernfs_node", "id"},
		field{&l.State, "sock_common", "skc_state"},
	))
}

// groups are the fields that lead from a task to its control groups.
func (l *Tasks) groups() []field {
	return []field{
		{&l.Cgroups, "task_struct", "cgroups"},
		{&l.Group, "css_set", "dfl_cgrp"},
		{&l.Ancestors, "cgroup", "ancestors"},
		{&l.Node, "cgroup", "kn"},
	}
}

// tracing is BPF_PROG_TYPE_TRACING: programs at functions of the kernel and at its iterators.
const tracing = 26

// SteerHook is where Steer is loaded for: the iterator over sockets of UDP.
func SteerHook() (ebpf.Hook, error) {
	types, err := btf.Kernel()
	if err != nil {
		return ebpf.Hook{}, err
	}
	const iterator = 28 // BPF_TRACE_ITER
	number, err := types.Func("bpf_iter_udp")
	return ebpf.Hook{Type: tracing, Attach: iterator, Target: number}, err
}

// CountRefusals attaches Refused to each of Refusals that the running kernel lets be
// watched, for groups at this level, for as long as anybody holds the descriptors: the map
// and the attachments. names are the ceilings that are counted. The error is
// guest.ErrUnsupported where there is none.
func CountRefusals(level int32) (counts int, attached []int, names []string, err error) {
	types, err := btf.Kernel()
	if err != nil {
		return -1, nil, nil, fmt.Errorf("kernel types: %w: %w", err, guest.ErrUnsupported)
	}
	counts, err = ebpf.NewMap(ebpf.MapSpec{Name: refusedMap, Kind: ebpf.Hash, Key: idSize, Value: refusedSize, Entries: 65536})
	if err != nil {
		return -1, nil, nil, err
	}
	var refused error
	for _, r := range Refusals() {
		link, err := r.watch(types, counts, level)
		if err != nil {
			refused = err
			continue
		}
		attached, names = append(attached, link), append(names, r.counted()...)
	}
	if len(attached) == 0 {
		syscall.Close(counts)
		return -1, nil, nil, fmt.Errorf("%w: %w", refused, guest.ErrUnsupported)
	}
	return counts, attached, names, nil
}

// OpenRefused opens the counts of CountRefusals by the number of their map.
func OpenRefused(id uint32) (fd int, err error) {
	fd, err = ebpf.OpenMap(id)
	if err != nil {
		return -1, err
	}
	if name, value, err := ebpf.DescribeMap(fd); err != nil || name != refusedMap || value != refusedSize {
		syscall.Close(fd)
		return -1, errors.Join(err, fs.ErrNotExist)
	}
	return fd, nil
}

// ReadRefused gives the counts of a group, in the order of guest.Ceilings.
func ReadRefused(counts int, group uint64) (hits [ceilings]uint64) {
	b := make([]byte, refusedSize)
	if err := ebpf.Get(counts, binary.NativeEndian.AppendUint64(nil, group), b); err == nil {
		for i := range hits {
			hits[i] = binary.NativeEndian.Uint64(b[8*i:])
		}
	}
	return hits
}

// RefusedGroups gives the groups of which there are counts.
func RefusedGroups(counts int) (groups []uint64, err error) {
	var key []byte
	for next := make([]byte, idSize); ; key = next {
		if err = ebpf.Next(counts, key, next); errors.Is(err, fs.ErrNotExist) {
			return groups, nil
		}
		if err != nil {
			return nil, err
		}
		groups = append(groups, binary.NativeEndian.Uint64(next))
	}
}

// ForgetRefused drops the counts of a group.
func ForgetRefused(counts int, group uint64) error {
	return file.Gone(ebpf.Delete(counts, binary.NativeEndian.AppendUint64(nil, group)))
}

// watch attaches Refused to the function.
func (r Refusal) watch(types *btf.Types, counts int, level int32) (link int, err error) {
	const exit = 25 // BPF_TRACE_FEXIT
	number, err := types.Func(r.Function)
	if err != nil {
		return -1, err
	}
	values := make([]int32, len(r.Names))
	for i, name := range r.Names {
		if values[i], err = types.Enumerator(r.Prefix + strings.ToUpper(name)); err != nil {
			return -1, err
		}
	}
	prog, err := ebpf.LoadProgram(ebpf.Hook{Type: tracing, Attach: exit, Target: number}, refusedMap, r.Refused(counts, level, values))
	if err != nil {
		return -1, err
	}
	defer syscall.Close(prog)
	return ebpf.Link(0, prog, exit)
}

// field is where to note the offset of a field.
type field struct {
	to       *int32
	in, name string
}

func find(types *btf.Types, fields []field) (err error) {
	for _, f := range fields {
		if *f.to, err = types.Field(f.in, f.name); err != nil {
			return err
		}
	}
	return nil
}
