#include "textflag.h"

// func word(i int) uint32
TEXT ·word(SB), NOSPLIT, $0-12
	MOVQ i+0(FP), AX
	LEAQ program<>(SB), CX
	MOVL (CX)(AX*4), AX
	MOVL AX, ret+8(FP)
	RET

// The program of pid 1. doc.go says what it does.
//
// It keeps in registers that system calls leave alone:
//	BX  128 bytes below the stack pointer, where no signal handler comes:
//	    0 a full signal set, 8 zeros (empty set, struct sigaction),
//	    48 the report, 56 a wait status, 64 envp
//	R12 &argv[0]
//	R13 &argv[i] of the "--"
//	R14 pid of the main child, 0 when it has ended
//	R15 1 in mode sysv, 2 when its main child's end has been told
//	R9  exit code, or an errno
TEXT program<>(SB), NOSPLIT|NOFRAME, $0-0
	LEAQ -128(SP), BX
	MOVQ $-1, 0(BX)
	XORL R9, R9
	MOVQ R9, 8(BX)
	MOVQ R9, 16(BX)
	MOVQ R9, 24(BX)
	MOVQ R9, 32(BX)
	LEAQ 8(SP), R12
	MOVQ 0(SP), AX
	LEAQ 16(SP)(AX*8), AX
	MOVQ AX, 64(BX)

	// rt_sigprocmask(SIG_SETMASK, full, NULL, 8)
	MOVL $14, AX
	MOVL $2, DI
	MOVQ BX, SI
	XORL DX, DX
	MOVL $8, R10
	SYSCALL
	// rt_sigaction(SIGCHLD, zeros, NULL, 8)
	MOVL $13, AX
	MOVL $17, DI
	LEAQ 8(BX), SI
	SYSCALL
	// prctl(PR_SET_NAME, argv[0])
	MOVL $157, AX
	MOVL $15, DI
	MOVQ 0(R12), SI
	SYSCALL

	// The mode, and the "--". Missing ones end here with EINVAL.
	MOVL $22, R9
	XORL R15, R15
	CMPQ 0(SP), $4
	JLT  fail
	MOVQ 8(R12), AX
	CMPB 0(AX), $115 // 's'
	SETEQ R15
	LEAQ 8(R12), R13
dashes:
	ADDQ $8, R13
	MOVQ 0(R13), AX
	TESTQ AX, AX
	JEQ  fail
	CMPW 0(AX), $0x2d2d // the string has two bytes or ends in the first
	JNE  dashes
	CMPB 2(AX), $0
	JNE  dashes
	CMPQ 8(R13), $0
	JEQ  fail
	MOVQ 8(R12), AX
	CMPB 0(AX), $101 // 'e'
	JNE  pid1
	// prctl(PR_SET_DUMPABLE, 0)
	MOVL $157, AX
	MOVL $4, DI
	XORL SI, SI
	SYSCALL
	JMP  handed
pid1:
	CMPB 0(AX), $104 // 'h'
	JNE  start
	// rt_sigaction(SIGCHLD, SIG_IGN, NULL, 8): the kernel reaps
	MOVQ $1, 8(BX)
	MOVL $13, AX
	MOVL $17, DI
	LEAQ 8(BX), SI
	XORL DX, DX
	MOVL $8, R10
	SYSCALL
	// close(3)
	MOVL $3, AX
	MOVL $3, DI
	SYSCALL
	XORL R9, R9
held:
	// read(0, status, 8), until there is nobody who could write
	XORL AX, AX
	XORL DI, DI
	LEAQ 56(BX), SI
	MOVL $8, DX
	SYSCALL
	TESTQ AX, AX
	JGT  held
	JMP  exit
start:

	// clone(CLONE_VM|CLONE_VFORK|SIGCHLD): we go on when the child has executed the
	// command or ended.
	MOVL $56, AX
	MOVL $0x4111, DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	SYSCALL
	TESTQ AX, AX
	JEQ  child
	MOVL AX, R9
	NEGL R9
	TESTQ AX, AX
	JLT  fail
	MOVL AX, R14
	XORL R9, R9
	// close(3)
	MOVL $3, AX
	MOVL $3, DI
	SYSCALL

	// The command runs. Move this page next to the stack, where it needs no page tables
	// of its own, and let go of the old place with the vdso beside it: 8 KiB less for
	// the guest. From the new place this is run once more.
	// mremap(page, 4096, 4096, MAYMOVE|FIXED|DONTUNMAP, 256 KiB below the stack)
	BYTE $0xe8; LONG $0 // call the next instruction
	BYTE $0x5f          // POPQ DI: where it is
	MOVQ DI, R12
	LEAQ -0x40000(BX), R8
	ANDQ $~0xffff, R8
	ANDQ $~0xfff, DI
	CMPQ DI, R8
	JEQ  moved
	MOVQ DI, R13
	MOVL $25, AX
	MOVL $4096, SI
	MOVL $4096, DX
	MOVL $7, R10
	SYSCALL
	CMPQ AX, R8
	JNE  wait // before 5.13
	ANDQ $0xfff, R12
	LEAQ -5(R12)(R8*1), R12
	JMP  R12
moved:
	// munmap(old page - 64 KiB, 128 KiB); nothing but the vdso is mapped around it
	MOVL $11, AX
	LEAQ -0x10000(R13), DI
	MOVL $0x20000, SI
	SYSCALL

wait:
	// rt_sigtimedwait(full, NULL, NULL, 8)
	MOVL $128, AX
	MOVQ BX, DI
	XORL SI, SI
	XORL DX, DX
	MOVL $8, R10
	SYSCALL
	CMPQ AX, $17
	JEQ  reap
	TESTQ AX, AX
	JLE  wait
	// kill(-main, signal), or kill(-1, signal)
	MOVL AX, SI
	MOVL R14, DI
	TESTL DI, DI
	JNE  forward
	MOVL $1, DI
forward:
	NEGL DI
	MOVL $62, AX
	SYSCALL
	JMP  wait

reap:
	// wait4(-1, &status, WNOHANG|__WALL, NULL)
	MOVL $61, AX
	MOVQ $-1, DI
	LEAQ 56(BX), SI
	MOVL $0x40000001, DX
	XORL R10, R10
	SYSCALL
	CMPQ AX, $-10 // ECHILD
	JEQ  exit
	TESTQ AX, AX
	JEQ  left
	CMPL AX, R14
	JNE  reap
	XORL R14, R14
	MOVL 56(BX), AX
	MOVL AX, R9
	ANDL $0x7f, R9
	JEQ  exited
	ADDL $128, R9
	JMP  ended
exited:
	SHRL $8, AX
	MOVBLZX AX, R9
ended:
	TESTL R15, R15
	JNE  reap
	JMP  exit

	// Others are left. Once the main child has ended, tell.
left:
	CMPL R15, $1
	JNE  wait
	TESTL R14, R14
	JNE  wait
	MOVL $2, R15
	// write(4, {code + 1, 0}, 8)
	LEAL 1(R9), AX
	MOVL AX, 48(BX)
	MOVL R14, 52(BX)
	MOVL $1, AX
	MOVL $4, DI
	LEAQ 48(BX), SI
	MOVL $8, DX
	SYSCALL
	// close(4)
	MOVL $3, AX
	MOVL $4, DI
	SYSCALL
	JMP  wait
exit:
	// exit_group(code)
	MOVL $231, AX
	MOVL R9, DI
	SYSCALL

child:
	// setsid()
	MOVL $112, AX
	SYSCALL
	// ioctl(0, TIOCSCTTY, 0)
	MOVL $16, AX
	XORL DI, DI
	MOVL $0x540e, SI
	XORL DX, DX
	SYSCALL
	// fcntl(4, F_SETFD, FD_CLOEXEC)
	MOVL $72, AX
	MOVL $4, DI
	MOVL $2, SI
	MOVL $1, DX
	SYSCALL
handed:
	// fcntl(3, F_SETFD, FD_CLOEXEC)
	MOVL $72, AX
	MOVL $3, DI
	MOVL $2, SI
	MOVL $1, DX
	SYSCALL
	// rt_sigprocmask(SIG_SETMASK, empty, NULL, 8)
	MOVL $14, AX
	MOVL $2, DI
	LEAQ 8(BX), SI
	XORL DX, DX
	MOVL $8, R10
	SYSCALL

	MOVL $2, R9 // ENOENT
	LEAQ 16(R12), R14
	CMPQ R14, R13
	JNE  try
	LEAQ 8(R13), R14 // no candidates: CMD itself, once
	MOVQ R14, R15
	ADDQ $8, R15
	JMP  execve
try:
	MOVQ R13, R15
execve:
	// execve(*R14, &argv[after "--"], envp)
	MOVL $59, AX
	MOVQ 0(R14), DI
	LEAQ 8(R13), SI
	MOVQ 64(BX), DX
	SYSCALL
	NEGL AX
	CMPL AX, $2
	JEQ  next
	CMPL AX, $20 // ENOTDIR
	JEQ  next
	MOVL AX, R9
	CMPL AX, $13 // EACCES
	JNE  fail
next:
	ADDQ $8, R14
	CMPQ R14, R15
	JNE  execve

fail:
	// write(3, {0xffffffff, R9}, 8)
	MOVL $-1, 48(BX)
	MOVL R9, 52(BX)
	MOVL $1, AX
	MOVL $3, DI
	LEAQ 48(BX), SI
	MOVL $8, DX
	SYSCALL
	// 127 for ENOENT, otherwise 126
	CMPL R9, $2
	SETEQ R9
	ANDL $1, R9
	ADDL $126, R9
	JMP  exit

	// "vserver-text-end"
	LONG $0x72657376; LONG $0x2d726576; LONG $0x74786574; LONG $0x646e652d
