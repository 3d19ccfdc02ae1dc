package ns

import "golang.org/x/sys/unix"

// On arm the old name is the call with 16-bit ids.
const sysSetresuid = unix.SYS_SETRESUID32
