package behalf

import "golang.org/x/sys/unix"

const (
	sysMknod     = -1 // there is mknodat alone
	sysSetgroups = unix.SYS_SETGROUPS
)
