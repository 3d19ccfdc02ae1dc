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
// the stack stays aligned to 8.
TEXT ·begin(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVW $0, R2
	MOVW $2, R3
look:
	MOVW R3, R0
	MOVW $1, R1 // F_GETFD
	MOVW $55, R7 // fcntl
	SWI  $0
	SRL  $31, R0
	ADD  R2<<1, R0, R2
	SUB.S $1, R3
	BGE  look
	MOVB R2, ·closed(SB)
	MOVW R13, R1
	MOVW 0(R1), R2
	ADD  R2<<2, R1, R3
	ADD  $8, R3
end:
	MOVW.P 4(R3), R4
	CMP  $0, R4
	BNE  end
	SUB  $4, R3 // at the 0
	SUB  $8, R1, R5
	MOVW R5, R13
move:
	MOVW.P 4(R1), R4
	MOVW.P R4, 4(R5)
	CMP  R1, R3
	BNE  move
	MOVW $setting<>(SB), R4
	MOVW R4, 0(R5)
	MOVW R4, 4(R5)
	B    _rt0_arm_linux(SB)
