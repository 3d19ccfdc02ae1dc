// Package cred is what the kernel lets this process do.
package cred

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// LastCap is the highest capability this kernel knows. It is asked for each by its
// number, beginning with the highest of 5.9 to 6.18: two calls, of which the file in
// /proc that tells takes five and an allocation.
func LastCap() int {
	last := unix.CAP_CHECKPOINT_RESTORE
	for last < 63 && known(last+1) {
		last++
	}
	for last > 0 && !known(last) {
		last--
	}
	return last
}

func known(capability int) bool {
	_, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(capability), 0, 0, 0)
	return err == nil
}

// Permitted is the set of capabilities that this process may use, bit by number.
func Permitted() uint64 {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0
	}
	return uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32
}

// Keep takes from the calling thread all capabilities that are not in set, bit by number:
// what it and the programs that it executes can ever have. No other thread is changed; the
// caller holds the thread (runtime.LockOSThread) until it executes a program.
func Keep(set uint64) error {
	for n := 0; n <= LastCap(); n++ {
		if set>>n&1 == 1 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil {
			return os.NewSyscallError("drop capability "+strconv.Itoa(n), err)
		}
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	for i := range data {
		part := uint32(set >> (32 * i))
		data[i].Inheritable &= part
		data[i].Permitted &= part
		data[i].Effective &= part
	}
	return os.NewSyscallError("capset", unix.Capset(&hdr, &data[0]))
}

// Bounding is the set of capabilities that this process and what it executes can ever
// have, bit by number.
func Bounding() (set uint64) {
	for n := 0; n <= LastCap(); n++ {
		if on, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0); err == nil && on == 1 {
			set |= 1 << n
		}
	}
	return set
}

// As calls do on a thread whose files are made as those of host ids uid and gid, and for
// whom the limits of a disk hold (CAP_SYS_RESOURCE lifts them); else it may what this
// process may. What do begins on other goroutines is not so. The thread ends with it.
func As(uid, gid uint32, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread never ends. While this goroutine holds it, another gets another.
			defer runtime.UnlockOSThread()
			done <- As(uid, gid, do)
			return
		}
		err := become(uid, gid)
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

func become(uid, gid uint32) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	// The calls give the ids that were, and no error.
	unix.SetfsgidRetGid(int(gid))
	unix.SetfsuidRetUid(int(uid))
	// The change of the user took the capabilities of files away.
	data[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	return os.NewSyscallError("capset", unix.Capset(&hdr, &data[0]))
}
