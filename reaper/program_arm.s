#include "textflag.h"

// func word(i int) uint32
TEXT ·word(SB), NOSPLIT, $0-8
	MOVW i+0(FP), R0
	MOVW $program<>(SB), R1
	ADD  R0<<2, R1
	MOVW 0(R1), R0
	MOVW R0, ret+4(FP)
	RET

// The program of pid 1. doc.go says what it does. No constant here may need a pool
// behind the code: it would not be copied.
//
// System calls leave all registers but R0 alone. These are kept:
//	R4  128 bytes below the stack pointer, where no signal handler comes:
//	    0 a full signal set, 8 zeros (empty set, struct sigaction),
//	    40 1 in mode sysv and 2 when its main child's end has been told, 44 envp, 48 the report, 56 a wait status
//	R5  &argv[0]
//	R6  &argv[i] of the "--"
//	R8  pid of the main child, 0 when it has ended
//	R9  exit code, or an errno
TEXT program<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVW R13, R5
	SUB  $128, R5, R4
	MVN  $0, R0
	MOVW R0, 0(R4)
	MOVW R0, 4(R4)
	MOVW $0, R0
	MOVW R0, 8(R4)
	MOVW R0, 12(R4)
	MOVW R0, 16(R4)
	MOVW R0, 20(R4)
	MOVW R0, 24(R4)
	MOVW R0, 28(R4)
	MOVW R0, 32(R4)
	MOVW R0, 36(R4)
	MOVW R0, 40(R4)
	MOVW 0(R5), R8
	ADD  $4, R5
	ADD  R8<<2, R5, R0
	ADD  $4, R0
	MOVW R0, 44(R4)

	// rt_sigprocmask(SIG_SETMASK, full, NULL, 8)
	MOVW $175, R7
	MOVW $2, R0
	MOVW R4, R1
	MOVW $0, R2
	MOVW $8, R3
	SWI  $0
	// rt_sigaction(SIGCHLD, zeros, NULL, 8)
	MOVW $174, R7
	MOVW $17, R0
	ADD  $8, R4, R1
	SWI  $0
	// prctl(PR_SET_NAME, argv[0])
	MOVW $172, R7
	MOVW $15, R0
	MOVW 0(R5), R1
	SWI  $0

	// The mode, and the "--". Missing ones end here with EINVAL.
	MOVW $22, R9
	CMP  $4, R8
	BLT  fail
	MOVW 4(R5), R0
	MOVBU 0(R0), R0
	CMP  $115, R0 // 's'
	MOVW $1, R0
	MOVW.EQ R0, 40(R4)
	ADD  $4, R5, R6
dashes:
	ADD  $4, R6
	MOVW 0(R6), R0
	CMP  $0, R0
	BEQ  fail
	MOVBU 0(R0), R1
	CMP  $45, R1
	BNE  dashes
	MOVBU 1(R0), R1
	CMP  $45, R1
	BNE  dashes
	MOVBU 2(R0), R1
	CMP  $0, R1
	BNE  dashes
	MOVW 4(R6), R0
	CMP  $0, R0
	BEQ  fail
	MOVW 4(R5), R0
	MOVBU 0(R0), R0
	CMP  $101, R0 // 'e'
	BNE  pid1
	// prctl(PR_SET_DUMPABLE, 0)
	MOVW $172, R7
	MOVW $4, R0
	MOVW $0, R1
	SWI  $0
	B    handed
pid1:
	CMP  $104, R0 // 'h'
	BNE  start
	// rt_sigaction(SIGCHLD, SIG_IGN, NULL, 8): the kernel reaps
	MOVW $1, R0
	MOVW R0, 8(R4)
	MOVW $174, R7
	MOVW $17, R0
	ADD  $8, R4, R1
	MOVW $0, R2
	MOVW $8, R3
	SWI  $0
	// close(3)
	MOVW $6, R7
	MOVW $3, R0
	SWI  $0
	MOVW $0, R9
held:
	// read(0, status, 8), until there is nobody who could write
	MOVW $3, R7
	MOVW $0, R0
	ADD  $56, R4, R1
	MOVW $8, R2
	SWI  $0
	CMP  $0, R0
	BGT  held
	B    exit
start:

	// clone(CLONE_VM|CLONE_VFORK|SIGCHLD): we go on when the child has executed the
	// command or ended. Without CLONE_*TID the kernel does not look at R4.
	MOVW $120, R7
	MOVW $0x4100, R0
	ORR  $0x11, R0
	MOVW $0, R1
	MOVW $0, R2
	MOVW $0, R3
	SWI  $0
	CMP  $0, R0
	BEQ  child
	RSB  $0, R0, R9
	BLT  fail
	MOVW R0, R8
	MOVW $0, R9
	// close(3)
	MOVW $6, R7
	MOVW $3, R0
	SWI  $0

wait:
	// rt_sigtimedwait(full, NULL, NULL, 8)
	MOVW $177, R7
	MOVW R4, R0
	MOVW $0, R1
	MOVW $0, R2
	MOVW $8, R3
	SWI  $0
	CMP  $17, R0
	BEQ  reap
	CMP  $0, R0
	BLE  wait
	// kill(-main, signal), or kill(-1, signal)
	MOVW R0, R1
	RSB  $0, R8, R0
	CMP  $0, R8
	MVN.EQ $0, R0
	MOVW $37, R7
	SWI  $0
	B    wait

reap:
	// wait4(-1, &status, WNOHANG|__WALL, NULL)
	MOVW $114, R7
	MVN  $0, R0
	ADD  $56, R4, R1
	MOVW $0x40000000, R2
	ORR  $1, R2
	MOVW $0, R3
	SWI  $0
	CMN  $10, R0 // ECHILD
	BEQ  exit
	CMP  $0, R0
	BEQ  left
	CMP  R8, R0
	BNE  reap
	MOVW $0, R8
	MOVW 56(R4), R0
	AND  $0x7f, R0, R9
	CMP  $0, R9
	BEQ  exited
	ADD  $128, R9
	B    ended
exited:
	SRL  $8, R0
	AND  $0xff, R0, R9
ended:
	MOVW 40(R4), R0
	CMP  $0, R0
	BNE  reap
	B    exit

	// Others are left. Once the main child has ended, tell.
left:
	MOVW 40(R4), R0
	CMP  $1, R0
	BNE  wait
	CMP  $0, R8
	BNE  wait
	MOVW $2, R0
	MOVW R0, 40(R4)
	// write(4, {code + 1, 0}, 8)
	ADD  $1, R9, R0
	MOVW R0, 48(R4)
	MOVW R8, 52(R4)
	MOVW $4, R7
	MOVW $4, R0
	ADD  $48, R4, R1
	MOVW $8, R2
	SWI  $0
	// close(4)
	MOVW $6, R7
	MOVW $4, R0
	SWI  $0
	B    wait
exit:
	// exit_group(code)
	MOVW $248, R7
	MOVW R9, R0
	SWI  $0

child:
	// setsid()
	MOVW $66, R7
	SWI  $0
	// ioctl(0, TIOCSCTTY, 0)
	MOVW $54, R7
	MOVW $0, R0
	MOVW $0x5400, R1
	ORR  $0x0e, R1
	MOVW $0, R2
	SWI  $0
	// fcntl64(4, F_SETFD, FD_CLOEXEC)
	MOVW $221, R7
	MOVW $4, R0
	MOVW $2, R1
	MOVW $1, R2
	SWI  $0
handed:
	// fcntl64(3, F_SETFD, FD_CLOEXEC)
	MOVW $221, R7
	MOVW $3, R0
	MOVW $2, R1
	MOVW $1, R2
	SWI  $0
	// rt_sigprocmask(SIG_SETMASK, empty, NULL, 8)
	MOVW $175, R7
	MOVW $2, R0
	ADD  $8, R4, R1
	MOVW $0, R2
	MOVW $8, R3
	SWI  $0

	MOVW $2, R9 // ENOENT
	ADD  $8, R5, R8
	MOVW R6, R5
	CMP  R6, R8
	BNE  execve
	ADD  $4, R6, R8 // no candidates: CMD itself, once
	ADD  $8, R6, R5
execve:
	// execve(*R8, &argv[after "--"], envp)
	MOVW $11, R7
	MOVW 0(R8), R0
	ADD  $4, R6, R1
	MOVW 44(R4), R2
	SWI  $0
	CMN  $2, R0
	BEQ  next
	CMN  $20, R0 // ENOTDIR
	BEQ  next
	RSB  $0, R0, R9
	CMP  $13, R9 // EACCES
	BNE  fail
next:
	ADD  $4, R8
	CMP  R5, R8
	BNE  execve

fail:
	// write(3, {0xffffffff, R9}, 8)
	MVN  $0, R0
	MOVW R0, 48(R4)
	MOVW R9, 52(R4)
	MOVW $4, R7
	MOVW $3, R0
	ADD  $48, R4, R1
	MOVW $8, R2
	SWI  $0
	// 127 for ENOENT, otherwise 126
	CMP  $2, R9
	MOVW $126, R9
	ADD.EQ $1, R9
	B    exit

	// "vserver-text-end"
	WORD $0x72657376; WORD $0x2d726576; WORD $0x74786574; WORD $0x646e652d
