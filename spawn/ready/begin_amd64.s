#include "textflag.h"

// func begin()
//
// The thread has memory of its own by now, for Go functions to find no goroutine in (package warm).
TEXT ·begin(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVQ SP, AX
	SUBQ $16, SP
	MOVQ AX, 0(SP)
	CALL ·ahead(SB)
	ADDQ $16, SP
	JMP  vserver∕kernel∕solo·begin(SB)
