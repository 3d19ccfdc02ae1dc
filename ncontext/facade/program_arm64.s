#include "textflag.h"

// func word(i int) uint32
TEXT ·word(SB), NOSPLIT, $0-12
	MOVD i+0(FP), R0
	MOVD $program<>(SB), R1
	MOVWU (R1)(R0<<2), R0
	MOVW R0, ret+8(FP)
	RET

// The server. doc.go says what it does.
//
// System calls leave all registers but R0 alone. These are kept:
//	R19 256 bytes below the stack pointer, where no signal handler comes
//	R20 the page: 0 the request (struct seccomp_notif), 128 the socket's struct stat,
//	    512 a struct ifreq, 576 the caller's struct ifconf, 592 ours, 1024 what it
//	    points to
//	R21 the user id that sockets are made with
//	R22 a file that is closed soon; the socket to ask
//	R23 the user id that is wanted; a copy of the file that is asked
//	R24 what the call gives: a value, or an errno below 0
//	R25 the socket of the guest's own network
TEXT program<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVD RSP, R1
	SUB  $256, R1, R19
	MOVD $0, R21

	// argv[1], ten digits
	MOVD 16(R1), R2
	MOVD $0, R25
	MOVD $10, R3
	MOVD $10, R4
digit:
	MUL  R4, R25, R25
	MOVBU 0(R2), R5
	ADD  R5, R25, R25
	SUB  $48, R25, R25
	ADD  $1, R2, R2
	SUB  $1, R3, R3
	CBNZ R3, digit
	// prctl(PR_SET_NAME, argv[0])
	MOVD 8(R1), R1
	MOVD $167, R8
	MOVD $15, R0
	SVC
	// rt_sigprocmask(SIG_SETMASK, full, NULL, 8)
	MOVD $-1, R0
	MOVD R0, 0(R19)
	MOVD $135, R8
	MOVD $2, R0
	MOVD R19, R1
	MOVD $0, R2
	MOVD $8, R3
	SVC
	// mmap(NULL, 4096, READ|WRITE, SHARED, 1, 0)
	MOVD $222, R8
	MOVD $0, R0
	MOVD $4096, R1
	MOVD $3, R2
	MOVD $1, R3
	MOVD $1, R4
	MOVD $0, R5
	SVC
	CMN  $4095, R0
	BHS  exit
	MOVD R0, R20
	// ioctl(0, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP); not before 6.6
	MOVD $29, R8
	MOVD $0, R0
	MOVD $0x40082104, R1
	MOVD $1, R2
	SVC

	// A request that the server before us had taken: ioctl(0, NOTIF_ID_VALID, &id)
	MOVD 0(R20), R0
	CBZ  R0, wait
	MOVD $29, R8
	MOVD $0, R0
	MOVD $0x40082102, R1
	MOVD R20, R2
	SVC
	CBZ  R0, serve

wait:
	// ppoll({{0, POLLIN}, {2, POLLIN}}, 2, NULL, NULL, 8)
	MOVD $0x100000000, R0
	MOVD R0, 0(R19)
	ADD  $2, R0, R0
	MOVD R0, 8(R19)
	MOVD $73, R8
	MOVD R19, R0
	MOVD $2, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $8, R4
	SVC
	MOVHU 14(R19), R0 // the guest has ended
	CBNZ R0, exit
	MOVHU 6(R19), R0
	TBNZ $0, R0, take
	CBZ  R0, wait // else nobody is left who could call
exit:
	// exit_group(0)
	MOVD $94, R8
	MOVD $0, R0
	SVC

take:
	// The kernel wants the room for a request empty; the socket's number goes as well.
	STP  (ZR, ZR), 0(R20)
	STP  (ZR, ZR), 16(R20)
	STP  (ZR, ZR), 32(R20)
	STP  (ZR, ZR), 48(R20)
	STP  (ZR, ZR), 64(R20)
	MOVD ZR, 136(R20)
	// ioctl(0, SECCOMP_IOCTL_NOTIF_RECV, request)
	MOVD $29, R8
	MOVD $0, R0
	MOVD $0xc0502100, R1
	MOVD R20, R2
	SVC
	CBNZ R0, wait // the caller was killed

serve:
	MOVWU 16(R20), R0
	CMP  $29, R0 // ioctl
	BEQ  ask
	MOVD $-1, R24 // EPERM
	CMP  $54, R0 // of 32-bit arm, whose structures are others
	BEQ  answer
	// Whose socket shall it be? pidfd_open(thread, PIDFD_THREAD), 6.9
	MOVD $0, R23
	MOVD $434, R8
	MOVWU 8(R20), R0
	MOVD $0x80, R1
	SVC
	TBNZ $63, R0, own
	MOVD R0, R22
	// ioctl(thread, PIDFD_GET_INFO, {mask: CREDS}), 6.13
	MOVD $2, R0
	MOVD R0, 0(R19)
	MOVD $29, R8
	MOVD R22, R0
	MOVD $0xc040ff0b, R1
	MOVD R19, R2
	SVC
	CBNZ R0, known
	MOVWU 52(R19), R23 // fsuid
known:
	// close(thread)
	MOVD $57, R8
	MOVD R22, R0
	SVC
own:
	CMP  R21, R23
	BEQ  make
	// setfsuid(uid)
	MOVD R23, R21
	MOVD $151, R8
	MOVD R23, R0
	SVC
make:
	// socket(family, type|SOCK_CLOEXEC, protocol)
	MOVD $198, R8
	MOVWU 32(R20), R0
	MOVWU 40(R20), R1
	ORR  $0x80000, R1, R1
	MOVWU 48(R20), R2
	SVC
	MOVD R0, R24
	TBNZ $63, R0, answer
	MOVD R0, R22
	// fstat(socket, page): who comes after us finds it in the caller's table by its
	// inode.
	MOVD $80, R8
	ADD  $128, R20, R1
	SVC
	// ioctl(0, SECCOMP_IOCTL_NOTIF_ADDFD, {id, 0, socket, 0, O_CLOEXEC or 0})
	MOVD 0(R20), R0
	MOVD R0, 0(R19)
	MOVW ZR, 8(R19)
	MOVW R22, 12(R19)
	MOVW ZR, 16(R19)
	MOVWU 40(R20), R0
	AND  $0x80000, R0, R0
	MOVW R0, 20(R19)
	MOVD $29, R8
	MOVD $0, R0
	MOVD $0x40182103, R1
	MOVD R19, R2
	SVC
	MOVD R0, R24
	// close(socket)
	MOVD $57, R8
	MOVD R22, R0
	SVC

answer:
	// ioctl(0, SECCOMP_IOCTL_NOTIF_SEND, {id, value, errno, 0})
	MOVD 0(R20), R0
	MOVD R0, 0(R19)
	MOVD R24, 8(R19)
	MOVD ZR, 16(R19)
	TBZ  $63, R24, send
	MOVD ZR, 8(R19)
	MOVW R24, 16(R19)
send:
	MOVD $29, R8
	MOVD $0, R0
	MOVD $0xc0182101, R1
	MOVD R19, R2
	SVC
	B    wait

ask:
	// Which network does the socket that is asked belong to? pidfd_open(thread,
	// PIDFD_THREAD), 6.9; an older kernel takes a first thread alone.
	MOVD $-1, R23
	MOVD $434, R8
	MOVWU 8(R20), R0
	MOVD $0x80, R1
	SVC
	TBZ  $63, R0, thread
	MOVWU 8(R20), R0
	MOVD $0, R1
	SVC
	TBNZ $63, R0, ours
thread:
	MOVD R0, R22
	// pidfd_getfd(thread, fd, 0)
	MOVD $438, R8
	MOVWU 32(R20), R1
	MOVD $0, R2
	SVC
	MOVD R0, R24
	// close(thread)
	MOVD $57, R8
	MOVD R22, R0
	SVC
	TBNZ $63, R24, answer
	MOVD R24, R23
	// getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &theirs, &length)
	MOVD $8, R0
	MOVW R0, 16(R19)
	MOVD $209, R8
	MOVD R23, R0
	MOVD $1, R1
	MOVD $71, R2
	MOVD R19, R3
	ADD  $16, R19, R4
	SVC
	MOVD $-25, R24 // ENOTTY
	TBNZ $63, R0, asked
	// The same of one that we make, which is of the host's: socket(AF_UNIX, SOCK_DGRAM, 0)
	MOVD $198, R8
	MOVD $1, R0
	MOVD $2, R1
	MOVD $0, R2
	SVC
	MOVD R0, R24
	TBNZ $63, R0, asked
	MOVD R0, R22
	MOVD $209, R8
	MOVD $1, R1
	MOVD $71, R2
	ADD  $8, R19, R3
	ADD  $16, R19, R4
	SVC
	// close(socket)
	MOVD $57, R8
	MOVD R22, R0
	SVC
	MOVD R23, R22
	MOVD 0(R19), R0
	MOVD 8(R19), R1
	CMP  R0, R1
	BNE  question
ours:
	MOVD R25, R22
question:
	// From here on the socket to ask is in R22.
	ADD  $512, R20, R0
	MOVD R0, 0(R19)
	MOVD $40, R1
	MOVD R1, 8(R19)
	MOVD R1, 40(R19)
	MOVD 48(R20), R0
	MOVD R0, 32(R19)
	MOVWU 40(R20), R0
	MOVD $0x8912, R1 // SIOCGIFCONF
	CMP  R1, R0
	BEQ  list
	// process_vm_readv(thread, {ifreq, 40}, 1, {arg, 40}, 1, 0)
	MOVD $270, R8
	MOVWU 8(R20), R0
	MOVD R19, R1
	MOVD $1, R2
	ADD  $32, R19, R3
	MOVD $1, R4
	MOVD $0, R5
	SVC
	MOVD $-14, R24 // EFAULT
	CMP  $40, R0
	BNE  asked
	// ioctl(socket, request, ifreq)
	MOVD $29, R8
	MOVD R22, R0
	MOVWU 40(R20), R1
	ADD  $512, R20, R2
	SVC
	MOVD R0, R24
	TBNZ $63, R0, asked
	// process_vm_writev(thread, {ifreq, 40}, 1, {arg, 40}, 1, 0)
	MOVD $271, R8
	MOVWU 8(R20), R0
	MOVD R19, R1
	MOVD $1, R2
	ADD  $32, R19, R3
	MOVD $1, R4
	MOVD $0, R5
	SVC
	CMP  $40, R0
	BEQ  asked
	MOVD $-14, R24
	B    asked

list:
	// process_vm_readv(thread, {ifconf, 16}, 1, {arg, 16}, 1, 0)
	ADD  $576, R20, R0
	MOVD R0, 0(R19)
	MOVD $16, R0
	MOVD R0, 8(R19)
	MOVD R0, 40(R19)
	MOVD $270, R8
	MOVWU 8(R20), R0
	MOVD R19, R1
	MOVD $1, R2
	ADD  $32, R19, R3
	MOVD $1, R4
	MOVD $0, R5
	SVC
	MOVD $-14, R24
	CMP  $16, R0
	BNE  asked
	// Ours: no more than there is room for, and no place when it gives none.
	MOVW 576(R20), R0
	MOVD $3072, R1
	CMP  R1, R0
	CSEL LT, R0, R1, R0
	MOVW R0, 592(R20)
	ADD  $1024, R20, R0
	MOVD 584(R20), R1
	CMP  $0, R1
	CSEL EQ, ZR, R0, R0
	MOVD R0, 600(R20)
	// ioctl(socket, SIOCGIFCONF, ours)
	MOVD $29, R8
	MOVD R22, R0
	MOVD $0x8912, R1
	ADD  $592, R20, R2
	SVC
	MOVD R0, R24
	TBNZ $63, R0, asked
	// process_vm_writev(thread, {{ours, 4}, {entries, n}}, 2, {{arg, 4}, {room, n}}, 2, 0)
	ADD  $592, R20, R0
	MOVD R0, 0(R19)
	MOVD $4, R0
	MOVD R0, 8(R19)
	MOVD R0, 40(R19)
	ADD  $1024, R20, R0
	MOVD R0, 16(R19)
	MOVD 584(R20), R0
	MOVD R0, 48(R19)
	MOVWU 592(R20), R1
	CMP  $0, R0
	CSEL EQ, ZR, R1, R1
	MOVD R1, 24(R19)
	MOVD R1, 56(R19)
	ADD  $4, R1, R1
	MOVD R1, 64(R19)
	MOVD $271, R8
	MOVWU 8(R20), R0
	MOVD R19, R1
	MOVD $2, R2
	ADD  $32, R19, R3
	MOVD $2, R4
	MOVD $0, R5
	SVC
	MOVD 64(R19), R1
	CMP  R0, R1
	BEQ  asked
	MOVD $-14, R24
asked:
	// close(the copy)
	MOVD $57, R8
	MOVD R23, R0
	SVC
	B    answer

	// "vserver-text-end"
	WORD $0x72657376; WORD $0x2d726576; WORD $0x74786574; WORD $0x646e652d
