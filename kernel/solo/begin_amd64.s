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
	XORL DX, DX
	MOVQ $2, DI
look:
	MOVQ $1, SI // F_GETFD
	MOVQ $72, AX // fcntl
	SYSCALL
	SHRQ $63, AX
	LEAQ (AX)(DX*2), DX
	DECQ DI
	JGE  look
	MOVB DX, ·closed(SB)
	MOVQ SP, SI
	MOVQ 0(SI), CX
	LEAQ 16(SI)(CX*8), DI
end:
	MOVQ 0(DI), AX
	ADDQ $8, DI
	TESTQ AX, AX
	JNE  end
	SUBQ $8, DI // at the 0
	LEAQ -16(SI), SP
move:
	MOVQ 0(SI), AX
	MOVQ AX, -16(SI)
	ADDQ $8, SI
	CMPQ SI, DI
	JNE  move
	LEAQ setting<>(SB), AX
	MOVQ AX, -16(DI)
	MOVQ AX, -8(DI)
	JMP  _rt0_amd64_linux(SB)
