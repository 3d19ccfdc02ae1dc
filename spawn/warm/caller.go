package warm

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/kernel/early"
)

// caller is what a process hands on to those that it starts, as far as it can tell by itself.
type caller struct {
	format uint64
	umask  uint64
	limits [rlimits]unix.Rlimit
	fixed
}

// fixed is what is not the process's to change for a while: threads have it each for itself.
type fixed struct {
	priority, ioprio, policy, personality  uint64
	noNewPrivileges, seccomp, bits, memory uint64
	gid, egid                              uint64
	caps                                   [6]uint32
	processors                             [128]byte
}

const (
	format  = 0x76737761726d3031 // changes with caller
	rlimits = 16

	getNoNewPrivileges = 39 // PR_GET_NO_NEW_PRIVS
	capabilityVersion3 = 0x20080522
)

// look fills it in.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *caller) look() {
	c.format = format
	c.umask = ask(unix.SYS_UMASK, 0, 0)
	ask(unix.SYS_UMASK, uintptr(c.umask), 0)
	for i := range c.limits {
		early.Call(unix.SYS_PRLIMIT64, 0, uintptr(i), 0, uintptr(unsafe.Pointer(&c.limits[i])), 0, 0)
	}
	c.priority = ask(unix.SYS_GETPRIORITY, unix.PRIO_PROCESS, 0)
	c.ioprio = ask(unix.SYS_IOPRIO_GET, 1, 0) // of a process
	c.policy = ask(unix.SYS_SCHED_GETSCHEDULER, 0, 0)
	c.personality = ask(unix.SYS_PERSONALITY, 0xffffffff, 0)
	c.noNewPrivileges = ask(unix.SYS_PRCTL, getNoNewPrivileges, 0)
	c.seccomp = ask(unix.SYS_PRCTL, unix.PR_GET_SECCOMP, 0)
	c.bits = ask(unix.SYS_PRCTL, unix.PR_GET_SECUREBITS, 0)
	early.Call(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&c.memory)), 0, 0, 0, 0, 0)
	c.gid, c.egid = ask(unix.SYS_GETGID, 0, 0), ask(unix.SYS_GETEGID, 0, 0)
	version := [2]uint32{capabilityVersion3, 0}
	early.Call(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&version)), uintptr(unsafe.Pointer(&c.caps)), 0, 0, 0, 0)
	early.Call(unix.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(c.processors), uintptr(unsafe.Pointer(&c.processors)), 0, 0, 0)
}

// ask makes a system call whose result is its answer.
//
//go:nosplit
//go:norace
//go:nocheckptr
func ask(nr, a, b uintptr) uint64 {
	n, e := early.Call(nr, a, b, 0, 0, 0, 0)
	if e != 0 {
		return ^uint64(0)
	}
	return uint64(n)
}

// binding are the limits that a process with much behind it would feel. The others are those of
// whom it works for.
func binding() []int {
	return []int{unix.RLIMIT_CPU, unix.RLIMIT_FSIZE, unix.RLIMIT_DATA, unix.RLIMIT_RSS, unix.RLIMIT_AS, unix.RLIMIT_RTTIME}
}

// fewFiles are too few for a process that has some of its own.
const fewFiles = 256

// like tells whether what the process c starts is as if it were started by one that is as o.
func (c *caller) like(o *caller) bool {
	for _, l := range binding() {
		if c.limits[l] != o.limits[l] {
			return false
		}
	}
	for l := range c.limits { // what is lowered may have to be raised again
		if c.limits[l].Max != o.limits[l].Max && o.caps[0]&(1<<unix.CAP_SYS_RESOURCE) == 0 {
			return false
		}
	}
	if c.limits[unix.RLIMIT_NOFILE].Cur < fewFiles {
		return false
	}
	return c.format == o.format && c.fixed == o.fixed
}

// become takes over from o what is a process's to change.
func become(o *caller) error {
	for i := range o.limits {
		if err := unix.Setrlimit(i, &o.limits[i]); err != nil {
			return err
		}
	}
	unix.Umask(int(o.umask))
	return nil
}
