#include "textflag.h"

// func rawClone(args *cloneArgs, size uintptr, r *runner) (pid uintptr)
TEXT ·rawClone(SB),NOSPLIT,$0-32
	MOVD args+0(FP), R0
	MOVD size+8(FP), R1
	MOVD r+16(FP), R19
	MOVD $435, R8
	SVC
	CBZ  R0, child
	MOVD R0, pid+24(FP)
	RET
child:
	SUB  $32, RSP
	MOVD R19, 8(RSP)
	MOVD $·follow(SB), R20 // not a direct call: the linker takes it for endless recursion
	BL   (R20)
	BRK
