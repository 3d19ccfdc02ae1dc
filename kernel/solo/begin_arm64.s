#include "textflag.h"

DATA  setting<>+0(SB)/8, $"GOMAXPRO"
DATA  setting<>+8(SB)/6, $"CS=01\x00"
GLOBL setting<>(SB), NOPTR|RODATA, $14

// func begin()
//
// Descriptors 2 to 0 are asked for their flags, which fails for one that is closed.
//
// The stack holds argc, argv, 0, the environment, 0 and more. All until the end of the
// environment moves down by two words, which are filled with the setting: two, because
// the stack stays aligned to 16.
TEXT ·begin(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVD $0, R2
	MOVD $2, R3
look:
	MOVD R3, R0
	MOVD $1, R1 // F_GETFD
	MOVD $25, R8 // fcntl
	SVC
	LSR  $63, R0
	ADD  R2<<1, R0, R2
	SUBS $1, R3
	BGE  look
	MOVB R2, ·closed(SB)
	MOVD RSP, R1
	MOVD 0(R1), R2
	ADD  R2<<3, R1, R3
	ADD  $16, R3
end:
	MOVD.P 8(R3), R4
	CBNZ R4, end
	SUB  $8, R3 // at the 0
	SUB  $16, R1, R5
	MOVD R5, RSP
move:
	MOVD.P 8(R1), R4
	MOVD.P R4, 8(R5)
	CMP  R1, R3
	BNE  move
	MOVD $setting<>(SB), R4
	MOVD R4, 0(R5)
	MOVD R4, 8(R5)
	B    _rt0_arm64_linux(SB)
