#include "textflag.h"

// func addresses() (handler, restorer uintptr)
TEXT ·addresses(SB),NOSPLIT,$0-16
	MOVD $relayed<>(SB), R0
	MOVD R0, handler+0(FP)
	MOVD ZR, restorer+8(FP)
	RET

// relayed(signal) is called by the kernel, as a function of C.
TEXT relayed<>(SB),NOSPLIT|NOFRAME,$0
	SUBW $1, R0, R2
	MOVW $1, R3
	LSLW R2, R3, R2
	MOVD $·pending(SB), R1
note:
	LDAXRW (R1), R3
	ORRW R2, R3, R4
	STLXRW R4, (R1), R5
	CBNZW R5, note
	DMB $0xb // ISH
	MOVD $·target(SB), R6
	LDARW (R6), R6
	CBZW R6, done
take:
	LDAXRW (R1), R3
	ANDW R2, R3, R7
	CBZW R7, done // To took it
	BICW R2, R3, R4
	STLXRW R4, (R1), R5
	CBNZW R5, take
	MOVW R0, R1
	MOVW R6, R0
	MOVD ZR, R2
	MOVD ZR, R3
	MOVD $424, R8 // pidfd_send_signal
	SVC
done:
	RET
