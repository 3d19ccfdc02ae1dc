#include "textflag.h"

GLOBL thread<>(SB), NOPTR, $16

// func begin()
//
// The calls of Go functions from here look for the goroutine in the thread's own memory,
// which there is none of yet: they find none.
TEXT ·begin(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVQ $158, AX // arch_prctl
	MOVQ $0x1002, DI // ARCH_SET_FS
	LEAQ thread<>+8(SB), SI
	SYSCALL
	MOVQ SP, AX
	SUBQ $16, SP
	MOVQ AX, 0(SP)
	CALL ·ahead(SB)
	ADDQ $16, SP
	JMP  vserver∕spawn∕ready·begin(SB)
