#include "textflag.h"

// func word(i int) uint32
TEXT ·word(SB), NOSPLIT, $0-12
	MOVQ i+0(FP), AX
	LEAQ program<>(SB), CX
	MOVL (CX)(AX*4), AX
	MOVL AX, ret+8(FP)
	RET

// The server. doc.go says what it does.
//
// It keeps in registers that system calls leave alone:
//	BX  the page: 0 the request (struct seccomp_notif), 128 the socket's struct stat,
//	    512 a struct ifreq, 576 the caller's struct ifconf, 592 ours, 1024 what it
//	    points to
//	R12 256 bytes below the stack pointer, where no signal handler comes; at 128 the
//	    socket of the guest's own network
//	R13 the user id that sockets are made with
//	R14 a file that is closed soon
//	R15 the user id that is wanted; a copy of the file that is asked
//	R9  what the call gives: a value, or an errno below 0
TEXT program<>(SB), NOSPLIT|NOFRAME, $0-0
	LEAQ -256(SP), R12
	XORL R13, R13

	// rt_sigprocmask(SIG_SETMASK, full, NULL, 8)
	MOVQ $-1, 0(R12)
	MOVL $14, AX
	MOVL $2, DI
	MOVQ R12, SI
	XORL DX, DX
	MOVL $8, R10
	SYSCALL
	// prctl(PR_SET_NAME, argv[0])
	MOVL $157, AX
	MOVL $15, DI
	MOVQ 8(SP), SI
	SYSCALL
	// argv[1], ten digits
	MOVQ 16(SP), SI
	XORL R15, R15
	MOVL $10, CX
digit:
	IMULL $10, R15
	MOVBLZX (SI), AX
	LEAL -48(R15)(AX*1), R15
	INCQ SI
	DECL CX
	JNE  digit
	MOVL R15, 128(R12)
	// mmap(NULL, 4096, READ|WRITE, SHARED, 1, 0)
	MOVL $9, AX
	XORL DI, DI
	MOVL $4096, SI
	MOVL $3, DX
	MOVL $1, R10
	MOVL $1, R8
	XORL R9, R9
	SYSCALL
	CMPQ AX, $-4096
	JHI  exit
	MOVQ AX, BX
	// ioctl(0, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP); not before 6.6
	MOVL $16, AX
	XORL DI, DI
	MOVL $0x40082104, SI
	MOVL $1, DX
	SYSCALL

	// A request that the server before us had taken: ioctl(0, NOTIF_ID_VALID, &id)
	CMPQ 0(BX), $0
	JEQ  wait
	MOVL $16, AX
	XORL DI, DI
	MOVL $0x40082102, SI
	MOVQ BX, DX
	SYSCALL
	TESTQ AX, AX
	JEQ  serve

wait:
	// poll({{0, POLLIN}, {2, POLLIN}}, 2, -1)
	MOVQ $0x100000000, AX
	MOVQ AX, 0(R12)
	ADDQ $2, AX
	MOVQ AX, 8(R12)
	MOVL $7, AX
	MOVQ R12, DI
	MOVL $2, SI
	MOVL $-1, DX
	SYSCALL
	CMPW 14(R12), $0 // the guest has ended
	JNE  exit
	TESTB $1, 6(R12)
	JNE  take
	CMPW 6(R12), $0 // nobody is left who could call
	JEQ  wait
exit:
	// exit_group(0)
	MOVL $231, AX
	XORL DI, DI
	SYSCALL

take:
	// The kernel wants the room for a request empty; the socket's number goes as well.
	XORL AX, AX
	MOVQ BX, DI
	MOVL $10, CX
	CLD
	REP; STOSQ
	MOVQ AX, 136(BX)
	// ioctl(0, SECCOMP_IOCTL_NOTIF_RECV, request)
	MOVL $16, AX
	XORL DI, DI
	MOVL $0xc0502100, SI
	MOVQ BX, DX
	SYSCALL
	TESTQ AX, AX
	JNE  wait // the caller was killed

serve:
	CMPL 16(BX), $16 // ioctl
	JEQ  ask
	MOVQ $-1, R9 // EPERM
	CMPL 16(BX), $54 // of i386, whose structures are others
	JEQ  answer
	// Whose socket shall it be? pidfd_open(thread, PIDFD_THREAD), 6.9
	XORL R15, R15
	MOVL $434, AX
	MOVL 8(BX), DI
	MOVL $0x80, SI
	SYSCALL
	TESTQ AX, AX
	JLT  own
	MOVL AX, R14
	// ioctl(thread, PIDFD_GET_INFO, {mask: CREDS}), 6.13
	MOVQ $2, 0(R12)
	MOVL $16, AX
	MOVL R14, DI
	MOVL $0xc040ff0b, SI
	MOVQ R12, DX
	SYSCALL
	TESTQ AX, AX
	JNE  known
	MOVL 52(R12), R15 // fsuid
known:
	// close(thread)
	MOVL $3, AX
	MOVL R14, DI
	SYSCALL
own:
	CMPL R15, R13
	JEQ  make
	// setfsuid(uid)
	MOVL R15, R13
	MOVL $122, AX
	MOVL R15, DI
	SYSCALL
make:
	// socket(family, type|SOCK_CLOEXEC, protocol)
	MOVL $41, AX
	MOVL 32(BX), DI
	MOVL 40(BX), SI
	ORL  $0x80000, SI
	MOVL 48(BX), DX
	SYSCALL
	MOVQ AX, R9
	TESTQ AX, AX
	JLT  answer
	MOVL AX, R14
	// fstat(socket, page): who comes after us finds it in the caller's table by its
	// inode.
	MOVL $5, AX
	MOVL R14, DI
	LEAQ 128(BX), SI
	SYSCALL
	// ioctl(0, SECCOMP_IOCTL_NOTIF_ADDFD, {id, 0, socket, 0, O_CLOEXEC or 0})
	MOVQ 0(BX), AX
	MOVQ AX, 0(R12)
	MOVL $0, 8(R12)
	MOVL R14, 12(R12)
	MOVL $0, 16(R12)
	MOVL 40(BX), AX
	ANDL $0x80000, AX
	MOVL AX, 20(R12)
	MOVL $16, AX
	XORL DI, DI
	MOVL $0x40182103, SI
	MOVQ R12, DX
	SYSCALL
	MOVQ AX, R9
	// close(socket)
	MOVL $3, AX
	MOVL R14, DI
	SYSCALL

answer:
	// ioctl(0, SECCOMP_IOCTL_NOTIF_SEND, {id, value, errno, 0})
	MOVQ 0(BX), AX
	MOVQ AX, 0(R12)
	XORL AX, AX
	MOVQ R9, 8(R12)
	MOVQ AX, 16(R12)
	TESTQ R9, R9
	JGE  send
	MOVQ AX, 8(R12)
	MOVL R9, 16(R12)
send:
	MOVL $16, AX
	XORL DI, DI
	MOVL $0xc0182101, SI
	MOVQ R12, DX
	SYSCALL
	JMP  wait

ask:
	// Which network does the socket that is asked belong to? pidfd_open(thread,
	// PIDFD_THREAD), 6.9; an older kernel takes a first thread alone.
	MOVQ $-1, R15
	MOVL $434, AX
	MOVL 8(BX), DI
	MOVL $0x80, SI
	SYSCALL
	TESTQ AX, AX
	JGE  thread
	MOVL $434, AX
	XORL SI, SI
	SYSCALL
	TESTQ AX, AX
	JLT  ours
thread:
	MOVL AX, R14
	// pidfd_getfd(thread, fd, 0)
	MOVL $438, AX
	MOVL R14, DI
	MOVL 32(BX), SI
	XORL DX, DX
	SYSCALL
	MOVQ AX, R9
	// close(thread)
	MOVL $3, AX
	MOVL R14, DI
	SYSCALL
	TESTQ R9, R9
	JLT  answer
	MOVL R9, R15
	// getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &theirs, &length)
	MOVL $8, 16(R12)
	MOVL $55, AX
	MOVL R15, DI
	MOVL $1, SI
	MOVL $71, DX
	MOVQ R12, R10
	LEAQ 16(R12), R8
	SYSCALL
	MOVQ $-25, R9 // ENOTTY
	TESTQ AX, AX
	JLT  asked
	// The same of one that we make, which is of the host's: socket(AF_UNIX, SOCK_DGRAM, 0)
	MOVL $41, AX
	MOVL $1, DI
	MOVL $2, SI
	XORL DX, DX
	SYSCALL
	MOVQ AX, R9
	TESTQ AX, AX
	JLT  asked
	MOVL AX, R14
	MOVL $55, AX
	MOVL R14, DI
	MOVL $1, SI
	MOVL $71, DX
	LEAQ 8(R12), R10
	LEAQ 16(R12), R8
	SYSCALL
	// close(socket)
	MOVL $3, AX
	MOVL R14, DI
	SYSCALL
	MOVL R15, R14
	MOVQ 0(R12), AX
	CMPQ AX, 8(R12)
	JNE  question
ours:
	MOVL 128(R12), R14
question:
	// From here on the socket to ask is in R14.
	LEAQ 512(BX), AX
	MOVQ AX, 0(R12)
	MOVQ $40, 8(R12)
	MOVQ 48(BX), AX
	MOVQ AX, 32(R12)
	MOVQ $40, 40(R12)
	CMPL 40(BX), $0x8912 // SIOCGIFCONF
	JEQ  list
	// process_vm_readv(thread, {ifreq, 40}, 1, {arg, 40}, 1, 0)
	MOVL $310, AX
	MOVL 8(BX), DI
	MOVQ R12, SI
	MOVL $1, DX
	LEAQ 32(R12), R10
	MOVL $1, R8
	XORL R9, R9
	SYSCALL
	MOVQ $-14, R9 // EFAULT
	CMPQ AX, $40
	JNE  asked
	// ioctl(socket, request, ifreq)
	MOVL $16, AX
	MOVL R14, DI
	MOVL 40(BX), SI
	LEAQ 512(BX), DX
	SYSCALL
	MOVQ AX, R9
	TESTQ AX, AX
	JLT  asked
	// process_vm_writev(thread, {ifreq, 40}, 1, {arg, 40}, 1, 0)
	MOVL $311, AX
	MOVL 8(BX), DI
	MOVQ R12, SI
	MOVL $1, DX
	LEAQ 32(R12), R10
	MOVL $1, R8
	XORL R9, R9
	SYSCALL
	CMPQ AX, $40
	JEQ  asked
	MOVQ $-14, R9
	JMP  asked

list:
	// process_vm_readv(thread, {ifconf, 16}, 1, {arg, 16}, 1, 0)
	LEAQ 576(BX), AX
	MOVQ AX, 0(R12)
	MOVQ $16, 8(R12)
	MOVQ $16, 40(R12)
	MOVL $310, AX
	MOVL 8(BX), DI
	MOVQ R12, SI
	MOVL $1, DX
	LEAQ 32(R12), R10
	MOVL $1, R8
	XORL R9, R9
	SYSCALL
	MOVQ $-14, R9
	CMPQ AX, $16
	JNE  asked
	// Ours: no more than there is room for, and no place when it gives none.
	MOVL 576(BX), AX
	CMPL AX, $3072
	JLE  fits
	MOVL $3072, AX
fits:
	MOVQ AX, 592(BX)
	LEAQ 1024(BX), AX
	CMPQ 584(BX), $0
	JNE  room
	XORL AX, AX
room:
	MOVQ AX, 600(BX)
	// ioctl(socket, SIOCGIFCONF, ours)
	MOVL $16, AX
	MOVL R14, DI
	MOVL $0x8912, SI
	LEAQ 592(BX), DX
	SYSCALL
	MOVQ AX, R9
	TESTQ AX, AX
	JLT  asked
	// process_vm_writev(thread, {{ours, 4}, {entries, n}}, 2, {{arg, 4}, {room, n}}, 2, 0)
	LEAQ 592(BX), AX
	MOVQ AX, 0(R12)
	MOVQ $4, 8(R12)
	MOVQ $4, 40(R12)
	LEAQ 1024(BX), AX
	MOVQ AX, 16(R12)
	MOVQ 584(BX), AX
	MOVQ AX, 48(R12)
	MOVL 592(BX), R9
	TESTQ AX, AX
	JNE  sized
	XORL R9, R9
sized:
	MOVQ R9, 24(R12)
	MOVQ R9, 56(R12)
	LEAQ 4(R9), AX
	MOVQ AX, 64(R12)
	MOVL $311, AX
	MOVL 8(BX), DI
	MOVQ R12, SI
	MOVL $2, DX
	LEAQ 32(R12), R10
	MOVL $2, R8
	XORL R9, R9
	SYSCALL
	CMPQ AX, 64(R12)
	JEQ  asked
	MOVQ $-14, R9
asked:
	// close(the copy)
	MOVL $3, AX
	MOVL R15, DI
	SYSCALL
	JMP  answer

	// "vserver-text-end"
	LONG $0x72657376; LONG $0x2d726576; LONG $0x74786574; LONG $0x646e652d
