#include "textflag.h"

// func word(i int) uint32
TEXT ·word(SB), NOSPLIT, $0-8
	MOVW i+0(FP), R0
	MOVW $program<>(SB), R1
	ADD  R0<<2, R1
	MOVW 0(R1), R0
	MOVW R0, ret+4(FP)
	RET

// The server. doc.go says what it does. No constant here may need a pool behind the
// code: it would not be copied.
//
// System calls leave all registers but R0 alone. These are kept:
//	R4  256 bytes below the stack pointer, where no signal handler comes; at 128 the
//	    socket of the guest's own network, at 132 a copy of the file that is asked
//	R5  the page: 0 the request (struct seccomp_notif), 128 the socket's struct stat64,
//	    512 a struct ifreq, 576 the caller's struct ifconf, 592 ours, 1024 what it
//	    points to
//	R6  the user id that sockets are made with
//	R8  a file that is closed soon; the socket to ask
//	R9  what the call gives: a value, or an errno below 0
TEXT program<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVW R13, R1
	SUB  $256, R1, R4
	MOVW $0, R6

	// argv[1], ten digits
	MOVW 8(R1), R2
	MOVW $0, R0
	MOVW $10, R3
digit:
	ADD  R0<<2, R0 // *5
	ADD  R0, R0    // *2
	MOVBU 0(R2), R5
	ADD  R5, R0
	SUB  $48, R0
	ADD  $1, R2
	SUB.S $1, R3
	BNE  digit
	MOVW R0, 128(R4)
	// prctl(PR_SET_NAME, argv[0])
	MOVW $172, R7
	MOVW $15, R0
	MOVW 4(R1), R1
	SWI  $0
	// rt_sigprocmask(SIG_SETMASK, full, NULL, 8)
	MVN  $0, R0
	MOVW R0, 0(R4)
	MOVW R0, 4(R4)
	MOVW $175, R7
	MOVW $2, R0
	MOVW R4, R1
	MOVW $0, R2
	MOVW $8, R3
	SWI  $0
	// mmap2(NULL, 4096, READ|WRITE, SHARED, 1, 0); the fifth goes where the scratch is
	MOVW R4, R8
	MOVW $192, R7
	MOVW $0, R0
	MOVW $4096, R1
	MOVW $3, R2
	MOVW $1, R3
	MOVW $1, R4
	MOVW $0, R5
	SWI  $0
	MOVW R8, R4
	CMN  $4096, R0
	BHI  exit
	MOVW R0, R5
	// ioctl(0, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP); not before 6.6
	MOVW $54, R7
	MOVW $0, R0
	MOVW $0x40000000, R1
	ORR  $0x80000, R1
	ORR  $0x2100, R1
	ORR  $0x04, R1
	MOVW $1, R2
	SWI  $0

	// A request that the server before us had taken: ioctl(0, NOTIF_ID_VALID, &id)
	MOVW 0(R5), R0
	MOVW 4(R5), R1
	ORR  R1, R0
	CMP  $0, R0
	BEQ  wait
	MOVW $0, R0
	MOVW $0x40000000, R1
	ORR  $0x80000, R1
	ORR  $0x2100, R1
	ORR  $0x02, R1
	MOVW R5, R2
	SWI  $0
	CMP  $0, R0
	BEQ  serve

wait:
	// poll({{0, POLLIN}, {2, POLLIN}}, 2, -1)
	MOVW $0, R0
	MOVW R0, 0(R4)
	MOVW $1, R1
	MOVW R1, 4(R4)
	MOVW $2, R0
	MOVW R0, 8(R4)
	MOVW R1, 12(R4)
	MOVW $168, R7
	MOVW R4, R0
	MOVW $2, R1
	MVN  $0, R2
	SWI  $0
	MOVHU 14(R4), R0 // the guest has ended
	CMP  $0, R0
	BNE  exit
	MOVHU 6(R4), R0
	TST  $1, R0
	BNE  take
	CMP  $0, R0
	BEQ  wait // else nobody is left who could call
exit:
	// exit_group(0)
	MOVW $248, R7
	MOVW $0, R0
	SWI  $0

take:
	// The kernel wants the room for a request empty; the socket's number goes as well.
	MOVW $0, R0
	MOVW $80, R1
	MOVW R5, R2
clear:
	MOVW R0, 0(R2)
	ADD  $4, R2
	SUB.S $4, R1
	BNE  clear
	MOVW R0, 224(R5)
	MOVW R0, 228(R5)
	// ioctl(0, SECCOMP_IOCTL_NOTIF_RECV, request)
	MOVW $54, R7
	MOVW $0xc0000000, R1
	ORR  $0x500000, R1
	ORR  $0x2100, R1
	MOVW R5, R2
	SWI  $0
	CMP  $0, R0
	BNE  wait // the caller was killed

serve:
	MOVW 16(R5), R0
	CMP  $54, R0 // ioctl
	BEQ  ask
	// Whose socket shall it be? pidfd_open(thread, PIDFD_THREAD), 6.9
	MOVW $0, R9
	MOVW $0x1b0, R7
	ORR  $2, R7
	MOVW 8(R5), R0
	MOVW $0x80, R1
	SWI  $0
	CMP  $0, R0
	BLT  own
	MOVW R0, R8
	// ioctl(thread, PIDFD_GET_INFO, {mask: CREDS}), 6.13
	MOVW $2, R0
	MOVW R0, 0(R4)
	MOVW $0, R0
	MOVW R0, 4(R4)
	MOVW $54, R7
	MOVW R8, R0
	MOVW $0xc0000000, R1
	ORR  $0x400000, R1
	ORR  $0xff00, R1
	ORR  $0x0b, R1
	MOVW R4, R2
	SWI  $0
	CMP  $0, R0
	BNE  known
	MOVW 52(R4), R9 // fsuid
known:
	// close(thread)
	MOVW $6, R7
	MOVW R8, R0
	SWI  $0
own:
	CMP  R6, R9
	BEQ  make
	// setfsuid32(uid)
	MOVW R9, R6
	MOVW $215, R7
	MOVW R9, R0
	SWI  $0
make:
	// socket(family, type|SOCK_CLOEXEC, protocol)
	MOVW $0x118, R7
	ORR  $1, R7
	MOVW 32(R5), R0
	MOVW 40(R5), R1
	ORR  $0x80000, R1
	MOVW 48(R5), R2
	SWI  $0
	MOVW R0, R9
	CMP  $0, R0
	BLT  answer
	MOVW R0, R8
	// fstat64(socket, page): who comes after us finds it in the caller's table by its
	// inode.
	MOVW $197, R7
	ADD  $128, R5, R1
	SWI  $0
	// ioctl(0, SECCOMP_IOCTL_NOTIF_ADDFD, {id, 0, socket, 0, O_CLOEXEC or 0})
	MOVW 0(R5), R0
	MOVW R0, 0(R4)
	MOVW 4(R5), R0
	MOVW R0, 4(R4)
	MOVW $0, R0
	MOVW R0, 8(R4)
	MOVW R8, 12(R4)
	MOVW R0, 16(R4)
	MOVW 40(R5), R1
	AND  $0x80000, R1
	MOVW R1, 20(R4)
	MOVW $54, R7
	MOVW $0x40000000, R1
	ORR  $0x180000, R1
	ORR  $0x2100, R1
	ORR  $0x03, R1
	MOVW R4, R2
	SWI  $0
	MOVW R0, R9
	// close(socket)
	MOVW $6, R7
	MOVW R8, R0
	SWI  $0

answer:
	// ioctl(0, SECCOMP_IOCTL_NOTIF_SEND, {id, value, errno, 0})
	MOVW 0(R5), R0
	MOVW R0, 0(R4)
	MOVW 4(R5), R0
	MOVW R0, 4(R4)
	MOVW $0, R0
	MOVW R9, 8(R4)
	MOVW R0, 12(R4)
	MOVW R0, 16(R4)
	MOVW R0, 20(R4)
	CMP  $0, R9
	BGE  send
	MOVW R0, 8(R4)
	MOVW R9, 16(R4)
send:
	MOVW $54, R7
	MOVW $0xc0000000, R1
	ORR  $0x180000, R1
	ORR  $0x2100, R1
	ORR  $0x01, R1
	MOVW R4, R2
	SWI  $0
	B    wait

ask:
	// Which network does the socket that is asked belong to? pidfd_open(thread,
	// PIDFD_THREAD), 6.9; an older kernel takes a first thread alone.
	MVN  $0, R0
	MOVW R0, 132(R4)
	MOVW $0x1b0, R7
	ORR  $2, R7
	MOVW 8(R5), R0
	MOVW $0x80, R1
	SWI  $0
	CMP  $0, R0
	BGE  thread
	MOVW 8(R5), R0
	MOVW $0, R1
	SWI  $0
	CMP  $0, R0
	BLT  ours
thread:
	MOVW R0, R8
	// pidfd_getfd(thread, fd, 0)
	ORR  $4, R7
	MOVW 32(R5), R1
	MOVW $0, R2
	SWI  $0
	MOVW R0, R9
	// close(thread)
	MOVW $6, R7
	MOVW R8, R0
	SWI  $0
	CMP  $0, R9
	BLT  answer
	MOVW R9, 132(R4)
	// getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &theirs, &length)
	MOVW R9, R0
	BL   whose
	MVN  $24, R9 // -25, ENOTTY
	CMP  $0, R0
	BLT  asked
	MOVW 136(R4), R0
	MOVW R0, 144(R4)
	MOVW 140(R4), R0
	MOVW R0, 148(R4)
	// The same of one that we make, which is of the host's: socket(AF_UNIX, SOCK_DGRAM, 0)
	MOVW $0x118, R7
	ORR  $1, R7
	MOVW $1, R0
	MOVW $2, R1
	MOVW $0, R2
	SWI  $0
	MOVW R0, R9
	CMP  $0, R0
	BLT  asked
	MOVW R0, R8
	BL   whose
	// close(socket)
	MOVW $6, R7
	MOVW R8, R0
	SWI  $0
	MOVW 132(R4), R8
	MOVW 136(R4), R0
	MOVW 144(R4), R1
	CMP  R0, R1
	BNE  question
	MOVW 140(R4), R0
	MOVW 148(R4), R1
	CMP  R0, R1
	BNE  question
ours:
	MOVW 128(R4), R8
question:
	// From here on the socket to ask is in R8. The vectors are {ifreq, 32} and {arg, 32}.
	ADD  $512, R5, R0
	MOVW R0, 0(R4)
	MOVW $32, R1
	MOVW R1, 4(R4)
	MOVW R1, 36(R4)
	MOVW 48(R5), R0
	MOVW R0, 32(R4)
	MOVW 40(R5), R0
	SUB  $0x8900, R0
	CMP  $0x12, R0 // SIOCGIFCONF
	BEQ  list
	MOVW $0, R7
	MOVW $1, R2
	BL   move
	MVN  $13, R9 // -14, EFAULT
	CMP  $32, R0
	BNE  asked
	// ioctl(socket, request, ifreq)
	MOVW $54, R7
	MOVW R8, R0
	MOVW 40(R5), R1
	ADD  $512, R5, R2
	SWI  $0
	MOVW R0, R9
	CMP  $0, R0
	BLT  asked
	MOVW $1, R7
	MOVW $1, R2
	BL   move
	CMP  $32, R0
	BEQ  asked
	MVN  $13, R9
	B    asked

list:
	// {ifconf, 8} and {arg, 8}
	ADD  $576, R5, R0
	MOVW R0, 0(R4)
	MOVW $8, R0
	MOVW R0, 4(R4)
	MOVW R0, 36(R4)
	MOVW $0, R7
	MOVW $1, R2
	BL   move
	MVN  $13, R9
	CMP  $8, R0
	BNE  asked
	// Ours: no more than there is room for, and no place when it gives none.
	MOVW 576(R5), R0
	CMP  $3072, R0
	MOVW.GT $3072, R0
	MOVW R0, 592(R5)
	ADD  $1024, R5, R0
	MOVW 580(R5), R1
	CMP  $0, R1
	MOVW.EQ R1, R0
	MOVW R0, 596(R5)
	// ioctl(socket, SIOCGIFCONF, ours)
	MOVW $54, R7
	MOVW R8, R0
	MOVW 40(R5), R1
	ADD  $592, R5, R2
	SWI  $0
	MOVW R0, R9
	CMP  $0, R0
	BLT  asked
	// {ours, 4}, {entries, n} and {arg, 4}, {room, n}
	ADD  $592, R5, R0
	MOVW R0, 0(R4)
	MOVW $4, R0
	MOVW R0, 4(R4)
	MOVW R0, 36(R4)
	ADD  $1024, R5, R0
	MOVW R0, 8(R4)
	MOVW 580(R5), R0
	MOVW R0, 40(R4)
	MOVW 592(R5), R1
	CMP  $0, R0
	MOVW.EQ $0, R1
	MOVW R1, 12(R4)
	MOVW R1, 44(R4)
	ADD  $4, R1
	MOVW R1, 64(R4)
	MOVW $1, R7
	MOVW $2, R2
	BL   move
	MOVW 64(R4), R1
	CMP  R0, R1
	BEQ  asked
	MVN  $13, R9
asked:
	// close(the copy)
	MOVW $6, R7
	MOVW 132(R4), R0
	SWI  $0
	B    answer

	// whose: getsockopt(R0, SOL_SOCKET, SO_NETNS_COOKIE, scratch+136, &length)
whose:
	MOVW $8, R1
	MOVW R1, 16(R4)
	MOVW R4, R11
	MOVW $0x124, R7
	ORR  $3, R7
	MOVW $1, R1
	MOVW $71, R2
	ADD  $136, R4, R3
	ADD  $16, R4, R4
	SWI  $0
	MOVW R11, R4
	B    (R14)

	// move: process_vm_readv(thread, scratch, R2, scratch+32, R2, 0), or writev with R7 1
move:
	MOVW R4, R11
	MOVW R5, R12
	ADD  $0x178, R7
	MOVW 8(R5), R0
	MOVW R4, R1
	ADD  $32, R4, R3
	MOVW R2, R4
	MOVW $0, R5
	SWI  $0
	MOVW R11, R4
	MOVW R12, R5
	B    (R14)

	// "vserver-text-end"
	WORD $0x72657376; WORD $0x2d726576; WORD $0x74786574; WORD $0x646e652d
