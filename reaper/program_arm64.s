#include "textflag.h"

// func word(i int) uint32
TEXT ·word(SB), NOSPLIT, $0-12
	MOVD i+0(FP), R0
	MOVD $program<>(SB), R1
	MOVWU (R1)(R0<<2), R0
	MOVW R0, ret+8(FP)
	RET

// The program of pid 1. doc.go says what it does.
//
// System calls leave all registers but R0 alone. These are kept:
//	R19 128 bytes below the stack pointer, where no signal handler comes:
//	    0 a full signal set, 8 zeros (empty set, struct sigaction),
//	    48 the report, 56 a wait status
//	R20 &argv[0]
//	R21 &argv[i] of the "--"
//	R22 pid of the main child, 0 when it has ended
//	R23 1 in mode sysv, 2 when its main child's end has been told
//	R24 exit code, or an errno
//	R25 envp
TEXT program<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVD RSP, R20
	SUB  $128, R20, R19
	MOVD $-1, R0
	MOVD R0, 0(R19)
	MOVD ZR, 8(R19)
	MOVD ZR, 16(R19)
	MOVD ZR, 24(R19)
	MOVD ZR, 32(R19)
	MOVD 0(R20), R9
	ADD  $8, R20, R20
	ADD  R9<<3, R20, R25
	ADD  $8, R25, R25

	// rt_sigprocmask(SIG_SETMASK, full, NULL, 8)
	MOVD $135, R8
	MOVD $2, R0
	MOVD R19, R1
	MOVD $0, R2
	MOVD $8, R3
	SVC
	// rt_sigaction(SIGCHLD, zeros, NULL, 8)
	MOVD $134, R8
	MOVD $17, R0
	ADD  $8, R19, R1
	SVC
	// prctl(PR_SET_NAME, argv[0])
	MOVD $167, R8
	MOVD $15, R0
	MOVD 0(R20), R1
	SVC

	// The mode, and the "--". Missing ones end here with EINVAL.
	MOVD $22, R24
	CMP  $4, R9
	BLT  fail
	MOVD 8(R20), R0
	MOVBU 0(R0), R0
	CMP  $115, R0 // 's'
	CSET EQ, R23
	ADD  $8, R20, R21
dashes:
	ADD  $8, R21, R21
	MOVD 0(R21), R0
	CBZ  R0, fail
	MOVBU 0(R0), R1
	CMP  $45, R1
	BNE  dashes
	MOVBU 1(R0), R1
	CMP  $45, R1
	BNE  dashes
	MOVBU 2(R0), R1
	CBNZ R1, dashes
	MOVD 8(R21), R0
	CBZ  R0, fail
	MOVD 8(R20), R0
	MOVBU 0(R0), R0
	CMP  $101, R0 // 'e'
	BNE  pid1
	// prctl(PR_SET_DUMPABLE, 0)
	MOVD $167, R8
	MOVD $4, R0
	MOVD $0, R1
	SVC
	B    handed
pid1:
	CMP  $104, R0 // 'h'
	BNE  start
	// rt_sigaction(SIGCHLD, SIG_IGN, NULL, 8): the kernel reaps
	MOVD $1, R0
	MOVD R0, 8(R19)
	MOVD $134, R8
	MOVD $17, R0
	ADD  $8, R19, R1
	MOVD $0, R2
	MOVD $8, R3
	SVC
	// close(3)
	MOVD $57, R8
	MOVD $3, R0
	SVC
	MOVD $0, R24
held:
	// read(0, status, 8), until there is nobody who could write
	MOVD $63, R8
	MOVD $0, R0
	ADD  $56, R19, R1
	MOVD $8, R2
	SVC
	CMP  $0, R0
	BGT  held
	B    exit
start:

	// clone(CLONE_VM|CLONE_VFORK|SIGCHLD): we go on when the child has executed the
	// command or ended.
	MOVD $220, R8
	MOVD $0x4111, R0
	MOVD $0, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	SVC
	CBZ  R0, child
	NEG  R0, R24
	CMP  $0, R0
	BLT  fail
	MOVD R0, R22
	MOVD $0, R24
	// close(3)
	MOVD $57, R8
	MOVD $3, R0
	SVC

wait:
	// rt_sigtimedwait(full, NULL, NULL, 8)
	MOVD $137, R8
	MOVD R19, R0
	MOVD $0, R1
	MOVD $0, R2
	MOVD $8, R3
	SVC
	CMP  $17, R0
	BEQ  reap
	CMP  $0, R0
	BLE  wait
	// kill(-main, signal), or kill(-1, signal)
	MOVD R0, R1
	NEG  R22, R0
	CBNZ R0, forward
	MOVD $-1, R0
forward:
	MOVD $129, R8
	SVC
	B    wait

reap:
	// wait4(-1, &status, WNOHANG|__WALL, NULL)
	MOVD $260, R8
	MOVD $-1, R0
	ADD  $56, R19, R1
	MOVD $0x40000000, R2
	ORR  $1, R2, R2
	MOVD $0, R3
	SVC
	CMN  $10, R0 // ECHILD
	BEQ  exit
	CBZ  R0, left
	CMP  R22, R0
	BNE  reap
	MOVD $0, R22
	MOVWU 56(R19), R0
	AND  $0x7f, R0, R24
	CBZ  R24, exited
	ADD  $128, R24, R24
	B    ended
exited:
	LSR  $8, R0, R0
	AND  $0xff, R0, R24
ended:
	CBNZ R23, reap
	B    exit

	// Others are left. Once the main child has ended, tell.
left:
	CMP  $1, R23
	BNE  wait
	CBNZ R22, wait
	MOVD $2, R23
	// write(4, {code + 1, 0}, 8)
	ADD  $1, R24, R0
	MOVD R0, 48(R19)
	MOVD $64, R8
	MOVD $4, R0
	ADD  $48, R19, R1
	MOVD $8, R2
	SVC
	// close(4)
	MOVD $57, R8
	MOVD $4, R0
	SVC
	B    wait
exit:
	// exit_group(code)
	MOVD $94, R8
	MOVD R24, R0
	SVC

child:
	// setsid()
	MOVD $157, R8
	SVC
	// ioctl(0, TIOCSCTTY, 0)
	MOVD $29, R8
	MOVD $0, R0
	MOVD $0x540e, R1
	MOVD $0, R2
	SVC
	// fcntl(4, F_SETFD, FD_CLOEXEC)
	MOVD $25, R8
	MOVD $4, R0
	MOVD $2, R1
	MOVD $1, R2
	SVC
handed:
	// fcntl(3, F_SETFD, FD_CLOEXEC)
	MOVD $25, R8
	MOVD $3, R0
	MOVD $2, R1
	MOVD $1, R2
	SVC
	// rt_sigprocmask(SIG_SETMASK, empty, NULL, 8)
	MOVD $135, R8
	MOVD $2, R0
	ADD  $8, R19, R1
	MOVD $0, R2
	MOVD $8, R3
	SVC

	MOVD $2, R24 // ENOENT
	ADD  $16, R20, R22
	MOVD R21, R23
	CMP  R21, R22
	BNE  execve
	ADD  $8, R21, R22 // no candidates: CMD itself, once
	ADD  $16, R21, R23
execve:
	// execve(*R22, &argv[after "--"], envp)
	MOVD $221, R8
	MOVD 0(R22), R0
	ADD  $8, R21, R1
	MOVD R25, R2
	SVC
	CMN  $2, R0
	BEQ  next
	CMN  $20, R0 // ENOTDIR
	BEQ  next
	NEG  R0, R24
	CMP  $13, R24 // EACCES
	BNE  fail
next:
	ADD  $8, R22, R22
	CMP  R23, R22
	BNE  execve

fail:
	// write(3, {0xffffffff, R24}, 8)
	MOVD $-1, R0
	MOVW R0, 48(R19)
	MOVW R24, 52(R19)
	MOVD $64, R8
	MOVD $3, R0
	ADD  $48, R19, R1
	MOVD $8, R2
	SVC
	// 127 for ENOENT, otherwise 126
	CMP  $2, R24
	CSET EQ, R24
	ADD  $126, R24, R24
	B    exit

	// "vserver-text-end"
	WORD $0x72657376; WORD $0x2d726576; WORD $0x74786574; WORD $0x646e652d
