//go:build !arm

package ns

import "golang.org/x/sys/unix"

const sysSetresuid = unix.SYS_SETRESUID
