package spawn

import "golang.org/x/sys/unix"

// The namespaces that a child can be cloned into, as in namespaces(7).
const (
	NewUser   = unix.CLONE_NEWUSER
	NewMount  = unix.CLONE_NEWNS
	NewPid    = unix.CLONE_NEWPID
	NewUTS    = unix.CLONE_NEWUTS
	NewIPC    = unix.CLONE_NEWIPC
	NewCgroup = unix.CLONE_NEWCGROUP
	NewNet    = unix.CLONE_NEWNET
	NewTime   = unix.CLONE_NEWTIME
)
