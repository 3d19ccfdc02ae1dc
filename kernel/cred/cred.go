// Package cred is what the kernel lets this process do.
package cred

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LastCap is the highest capability this kernel knows; when it does not tell,
// CAP_CHECKPOINT_RESTORE (40), the highest of 5.9 to 6.18.
func LastCap() int {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return unix.CAP_CHECKPOINT_RESTORE
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 0 || n > 63 {
		return unix.CAP_CHECKPOINT_RESTORE
	}
	return n
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
