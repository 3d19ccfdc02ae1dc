#include "textflag.h"

// func begin()
//
// Nothing is ready on this architecture.
TEXT ·begin(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	B    vserver∕kernel∕solo·begin(SB)
