#include "textflag.h"

// func addresses() (handler, restorer uintptr)
TEXT ·addresses(SB),NOSPLIT,$0-16
	LEAQ relayed<>(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ restore<>(SB), AX
	MOVQ AX, restorer+8(FP)
	RET

// relayed(signal) is called by the kernel, as a function of C.
TEXT relayed<>(SB),NOSPLIT|NOFRAME,$0
	MOVL DI, SI
	SUBL $1, DI
	LOCK
	BTSL DI, ·pending(SB)
	MOVL ·target(SB), AX
	TESTL AX, AX
	JEQ  done
	LOCK
	BTRL DI, ·pending(SB)
	JCC  done // To took it
	MOVL AX, DI
	XORL DX, DX
	XORL R10, R10
	MOVL $424, AX // pidfd_send_signal
	SYSCALL
done:
	RET

// restore is what the handler returns to: rt_sigreturn(2).
TEXT restore<>(SB),NOSPLIT|NOFRAME,$0
	MOVL $15, AX
	SYSCALL
	INT  $3
