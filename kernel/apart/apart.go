// Package apart takes from a whole process, whose threads are Go's, what it will not need:
// the file system, capabilities, system calls.
package apart

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/kernel/seccomp"
)

// Enclose leaves a process that was born into mount and pid namespaces of its own (clone(2),
// CLONE_NEWNS and CLONE_NEWPID) the files that it has open, an empty root, the capabilities whose bits are set, and the
// system calls that the filter lets through.
func Enclose(set uint64, prog []unix.SockFilter) error {
	if err := emptyRoot(); err != nil {
		return fmt.Errorf("a root without anything: %w", err)
	}
	if err := capabilities(set); err != nil {
		return fmt.Errorf("fewer capabilities: %w", err)
	}
	if err := seccomp.Install(prog); err != nil {
		return fmt.Errorf("filter of system calls: %w", err)
	}
	return nil
}

// emptyRoot leaves a file system in which there is but the process's own /proc, by which
// open files are named.
func emptyRoot() error {
	const at = "/proc" // a directory that every host has
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("none", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0555,size=4k"); err != nil {
		return err
	}
	if err := unix.Mkdir(at+"/proc", 0o555); err != nil {
		return err
	}
	if err := unix.Mount("none", at+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "subset=pid"); err != nil {
		return err
	}
	if err := unix.Chdir(at); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // one over the other, pivot_root(2)
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// capabilities leaves all threads these.
func capabilities(set uint64) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		word := uint32(set >> (32 * i))
		data[i] = unix.CapUserData{Effective: word, Permitted: word}
	}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&data)), 0)
	if e == 0 {
		_, _, e = syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
	}
	if e != 0 {
		return e
	}
	return nil
}
