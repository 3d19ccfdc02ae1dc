// Package bpf is every BPF program of the system. Each is a pure function that
// returns its instructions; attach.go is the only file that changes the kernel.
//
// The programs are written with kernel/ebpf's words for instructions, so no C
// compiler is needed, neither here nor on the host.
//
//house:allow the programs of a network context share their words; a split would export these
package bpf

import "vserver/kernel/ebpf"

// Layout says where this kernel keeps what Ended reads: offsets in bytes, as the
// kernel's own type information has them.
type Layout struct {
	ExitCode  int32 // in task_struct
	ThreadPID int32 // in task_struct
	Level     int32 // in pid
	Numbers   int32 // in pid: an array of upid
	Namespace int32 // in upid
	UpidSize  int32
	Reboot    int32 // in pid_namespace
	Pointer   ebpf.Size
}

// The layout of a note, in the map from the number of a process.
const (
	keySize    = 4
	noteSeen   = 0
	noteCode   = 4
	noteReboot = 8
	noteSize   = 12
)

// Ended notes how each watched process ended, in the map with the descriptor notes.
// It is attached to the raw tracepoint sched_process_exit, which every thread passes
// on its way out:
//
//	if the process is in the map:
//		note.code = task.exit_code
//		note.reboot = the signal that reboot(2) left in the task's pid namespace
//		note.seen = 1
//
// The last thread to leave has the last word. No other way tells a reboot from a
// halt for sure to anybody but the init's parent: the status of a pidfd, of the process
// connector and of taskstats is the exit code of the task, while reboot(2) in a pid
// namespace changes the exit code of the group, and only after all of these looked.
// /proc/PID/stat has that, but only until the parent has taken the dead init.
func Ended(notes int, l Layout) []ebpf.Instruction {
	const key, tmp = -4, -16 // on the stack
	var p []ebpf.Instruction
	add := func(more ...ebpf.Instruction) { p = append(p, more...) }
	// read fetches what is at from+offset, to R1.
	read := func(from ebpf.Register, offset int32, size ebpf.Size) {
		add(
			ebpf.Mov(ebpf.R1, ebpf.FP), ebpf.AddImm(ebpf.R1, tmp),
			ebpf.MovImm(ebpf.R2, size.Bytes()),
			ebpf.Mov(ebpf.R3, from), ebpf.AddImm(ebpf.R3, offset),
			ebpf.Call(ebpf.ProbeReadKernel),
			ebpf.Load(ebpf.R1, ebpf.FP, tmp, size),
		)
	}
	add(
		ebpf.Load(ebpf.R6, ebpf.R1, 0, ebpf.DWord), // the task
		ebpf.Call(ebpf.CurrentPidTgid),
		ebpf.ShiftRight(ebpf.R0, 32),
		ebpf.Store(ebpf.FP, key, ebpf.R0, ebpf.Word),
	)
	add(ebpf.Map(ebpf.R1, notes)...)
	add(
		ebpf.Mov(ebpf.R2, ebpf.FP), ebpf.AddImm(ebpf.R2, key),
		ebpf.Call(ebpf.MapLookup),
		ebpf.JumpIfZero(ebpf.R0, "out"),
		ebpf.Mov(ebpf.R7, ebpf.R0), // the note
	)
	read(ebpf.R6, l.ExitCode, ebpf.Word)
	add(ebpf.Store(ebpf.R7, noteCode, ebpf.R1, ebpf.Word))
	read(ebpf.R6, l.ThreadPID, l.Pointer)
	add(ebpf.Mov(ebpf.R6, ebpf.R1)) // the struct pid
	read(ebpf.R6, l.Level, ebpf.Word)
	add(ebpf.MulImm(ebpf.R1, l.UpidSize), ebpf.Add(ebpf.R6, ebpf.R1))
	read(ebpf.R6, l.Numbers+l.Namespace, l.Pointer)
	add(ebpf.Mov(ebpf.R6, ebpf.R1)) // the pid namespace
	read(ebpf.R6, l.Reboot, ebpf.Word)
	add(
		ebpf.Store(ebpf.R7, noteReboot, ebpf.R1, ebpf.Word),
		ebpf.StoreImm(ebpf.R7, noteSeen, 1, ebpf.Word),
		ebpf.Labelled("out", ebpf.MovImm(ebpf.R0, 0)),
		ebpf.Exit(),
	)
	return p
}
