package behalf

import "golang.org/x/sys/unix"

const (
	sysMknod     = unix.SYS_MKNOD
	sysSetgroups = unix.SYS_SETGROUPS32
)
