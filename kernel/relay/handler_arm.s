#include "textflag.h"

// func addresses() (handler, restorer uintptr)
TEXT ·addresses(SB),NOSPLIT,$0-8
	MOVW $relayed<>(SB), R0
	MOVW R0, handler+0(FP)
	MOVW $0, R0
	MOVW R0, restorer+4(FP)
	RET

// relayed(signal) is called by the kernel, as a function of C.
TEXT relayed<>(SB),NOSPLIT|NOFRAME,$0
	SUB  $1, R0, R3
	MOVW $1, R2
	MOVW R2<<R3, R2
	MOVW $·pending(SB), R1
note:
	LDREX (R1), R3
	ORR  R2, R3, R4
	STREX R4, (R1), R5
	CMP  $0, R5
	BNE  note
	DMB  MB_ISH
	MOVW $·target(SB), R6
	MOVW (R6), R6
	CMP  $0, R6
	BEQ  done
take:
	LDREX (R1), R3
	TST  R2, R3
	BEQ  done // To took it
	BIC  R2, R3, R4
	STREX R4, (R1), R5
	CMP  $0, R5
	BNE  take
	MOVW R0, R1
	MOVW R6, R0
	MOVW $0, R2
	MOVW $0, R3
	MOVW $424, R7 // pidfd_send_signal
	SWI  $0
done:
	RET
