#include "textflag.h"

// func begin()
//
// Nobody is asked on this architecture.
TEXT ·begin(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	B    vserver∕spawn∕ready·begin(SB)
