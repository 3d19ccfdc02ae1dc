// Package bpf is every BPF program of the system. Each is a pure function that
// returns its specification; attach.go is the only file that changes the kernel.
//
// cilium/ebpf loads them, and its asm package is the language they are written in,
// so no C compiler is needed, neither here nor on the host.
package bpf

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Layout says where this kernel keeps what Ended reads: offsets in bytes, as the
// kernel's own type information (BTF) has them.
type Layout struct {
	ExitCode    int32 // in task_struct
	ThreadPID   int32 // in task_struct
	Level       int32 // in pid
	Numbers     int32 // in pid: an array of upid
	Namespace   int32 // in upid
	UpidSize    int32
	Reboot      int32 // in pid_namespace
	PointerSize int32
}

// Watched is how many processes Ended can watch at once.
const Watched = 32768

// EndedMap is the specification of the map between Ended and its reader: from the
// number of a watched process to a [Note].
func EndedMap() *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: "vserver_ended", Type: ebpf.Hash,
		KeySize: 4, ValueSize: noteSize, MaxEntries: Watched,
		Flags: noPrealloc,
	}
}

// noPrealloc is BPF_F_NO_PREALLOC: memory for the entries that there are.
const noPrealloc = 1

// The layout of a note in the map: three words.
const (
	noteSeen   = 0
	noteCode   = 4
	noteReboot = 8
	noteSize   = 12
)

// Ended notes how each watched process ended, in the map with the descriptor notes.
// It is attached to the raw tracepoint
// sched_process_exit, which every thread passes on its way out:
//
//	if the process is in the map:
//		note.code = task.exit_code
//		note.reboot = the signal that reboot(2) left in the task's pid namespace
//		note.seen = 1
//
// The last thread to leave has the last word. No other way tells a reboot from a
// halt to anybody but the init's parent: the status of a pidfd, of the process
// connector and of taskstats is the exit code of the task, while reboot(2) in a pid
// namespace changes the exit code of the group, and only after all of these looked.
func Ended(notes int, l Layout) *ebpf.ProgramSpec {
	const key, tmp = -4, -16 // on the stack
	pointer := asm.DWord
	if l.PointerSize == 4 {
		pointer = asm.Word
	}
	var p asm.Instructions
	add := func(more ...asm.Instruction) { p = append(p, more...) }
	// read fetches size bytes at from+offset to the stack.
	read := func(from asm.Register, offset, size int32) {
		add(
			asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, tmp),
			asm.Mov.Imm(asm.R2, size),
			asm.Mov.Reg(asm.R3, from), asm.Add.Imm(asm.R3, offset),
			asm.FnProbeReadKernel.Call(),
		)
	}
	add(
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord), // the task
		asm.FnGetCurrentPidTgid.Call(),
		asm.RSh.Imm(asm.R0, 32),
		asm.StoreMem(asm.RFP, key, asm.R0, asm.Word),
		asm.LoadMapPtr(asm.R1, notes),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(asm.R7, asm.R0), // the note
	)
	read(asm.R6, l.ExitCode, 4)
	add(
		asm.LoadMem(asm.R1, asm.RFP, tmp, asm.Word),
		asm.StoreMem(asm.R7, noteCode, asm.R1, asm.Word),
	)
	read(asm.R6, l.ThreadPID, l.PointerSize)
	add(asm.LoadMem(asm.R6, asm.RFP, tmp, pointer))
	read(asm.R6, l.Level, 4)
	add(
		asm.LoadMem(asm.R1, asm.RFP, tmp, asm.Word),
		asm.Mul.Imm(asm.R1, l.UpidSize),
		asm.Add.Reg(asm.R6, asm.R1),
	)
	read(asm.R6, l.Numbers+l.Namespace, l.PointerSize)
	add(asm.LoadMem(asm.R6, asm.RFP, tmp, pointer))
	read(asm.R6, l.Reboot, 4)
	add(
		asm.LoadMem(asm.R1, asm.RFP, tmp, asm.Word),
		asm.StoreMem(asm.R7, noteReboot, asm.R1, asm.Word),
		asm.StoreImm(asm.R7, noteSeen, 1, asm.Word),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	)
	return &ebpf.ProgramSpec{Name: "vserver_ended", Type: ebpf.RawTracepoint, License: "GPL", Instructions: p}
}
