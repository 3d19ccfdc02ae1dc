package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"vserver/guest"
)

// Notes are the ends of processes as Ended saw them. What it holds is two
// descriptors: the map, and the attachment, which lasts as long as anybody has it.
type Notes struct {
	notes, attached *os.File
	m               *ebpf.Map
}

// WatchEnds attaches Ended. The error is guest.ErrUnsupported on a kernel without
// type information (CONFIG_DEBUG_INFO_BTF) or raw tracepoints.
func WatchEnds() (*Notes, error) {
	layout, err := FindLayout()
	if err != nil {
		return nil, fmt.Errorf("kernel types: %w: %w", err, guest.ErrUnsupported)
	}
	m, err := ebpf.NewMap(EndedMap())
	if err != nil {
		return nil, fmt.Errorf("BPF map: %w", err)
	}
	defer m.Close()
	prog, err := ebpf.NewProgram(Ended(m.FD(), layout))
	if err != nil {
		return nil, fmt.Errorf("BPF program: %w", err)
	}
	defer prog.Close()
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sched_process_exit", Program: prog})
	if err != nil {
		return nil, fmt.Errorf("tracepoint sched_process_exit: %w", err)
	}
	defer l.Close()
	fder, ok := l.(interface{ FD() int })
	if !ok {
		return nil, fmt.Errorf("tracepoint sched_process_exit: %w", guest.ErrUnsupported)
	}
	return keep(m.FD(), fder.FD())
}

// keep duplicates what the library would close.
func keep(mapFD, linkFD int) (*Notes, error) {
	a, err1 := dup(mapFD)
	b, err2 := dup(linkFD)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return OpenNotes(a, b)
}

// OpenNotes takes the descriptors that another process got by Files. It closes them
// when they are of no use.
func OpenNotes(notes, attached *os.File) (*Notes, error) {
	own, err := syscall.Dup(int(notes.Fd())) // the library owns what it is given
	if err == nil {
		syscall.CloseOnExec(own)
		var m *ebpf.Map
		if m, err = ebpf.NewMapFromFD(own); err == nil {
			return &Notes{notes, attached, m}, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("BPF map: %w", err), notes.Close(), attached.Close())
}

// Files are the descriptors that keep the watch alive: the map and the attachment.
func (n *Notes) Files() (notes, attached *os.File) { return n.notes, n.attached }

// Close ends the watch, unless another process holds its Files.
func (n *Notes) Close() error {
	return errors.Join(n.m.Close(), n.notes.Close(), n.attached.Close())
}

// Watch asks for a note on the end of the process pid, a number of the initial pid
// namespace.
func (n *Notes) Watch(pid int) error {
	return n.m.Update(uint32(pid), make([]byte, noteSize), ebpf.UpdateNoExist)
}

// Forget drops the process from the map.
func (n *Notes) Forget(pid int) { n.m.Delete(uint32(pid)) }

// Note is how a process ended.
type Note struct {
	// Status is the wait status of the process; that of a pid namespace's init which
	// reboot(2) took down is SIGHUP (restart) or SIGINT (halt, power off), as its
	// parent sees it.
	Status syscall.WaitStatus
}

// Read gives the note on a watched process; ok is false when it has not ended.
func (n *Notes) Read(pid int) (note Note, ok bool) {
	b, err := n.m.LookupBytes(uint32(pid))
	if err != nil || len(b) != noteSize {
		return Note{}, false
	}
	return decode(b)
}

func decode(b []byte) (Note, bool) {
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	status := word(noteCode)
	if r := word(noteReboot); r != 0 {
		status = r
	}
	return Note{syscall.WaitStatus(status)}, word(noteSeen) != 0
}

// FindLayout reads the running kernel's type information, some 40 ms of work.
func FindLayout() (l Layout, err error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return l, err
	}
	for _, f := range []struct {
		to       *int32
		in, name string
	}{
		{&l.ExitCode, "task_struct", "exit_code"},
		{&l.ThreadPID, "task_struct", "thread_pid"},
		{&l.Level, "pid", "level"},
		{&l.Numbers, "pid", "numbers"},
		{&l.Namespace, "upid", "ns"},
		{&l.Reboot, "pid_namespace", "reboot"},
	} {
		var s *btf.Struct
		if err := spec.TypeByName(f.in, &s); err != nil {
			return l, fmt.Errorf("struct %s: %w", f.in, err)
		}
		at, ok := offset(s.Members, f.name)
		if !ok {
			return l, fmt.Errorf("struct %s: no field %s", f.in, f.name)
		}
		if *f.to = int32(at); f.in == "upid" {
			l.UpidSize = int32(s.Size)
		}
	}
	l.PointerSize = strconv.IntSize / 8
	return l, nil
}

// offset finds a field, also inside unnamed structs and unions.
func offset(fields []btf.Member, name string) (uint32, bool) {
	for _, f := range fields {
		if f.Name == name {
			return f.Offset.Bytes(), true
		}
		if f.Name != "" {
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(f.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if at, ok := offset(inner, name); ok {
			return f.Offset.Bytes() + at, true
		}
	}
	return 0, false
}

func dup(fd int) (*os.File, error) {
	n, err := syscall.Dup(fd)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	syscall.CloseOnExec(n)
	return os.NewFile(uintptr(n), "bpf"), nil
}
