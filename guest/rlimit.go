package guest

import "slices"

// Rlimits are the names of the limits of setrlimit(2) without "RLIMIT_", in lower
// case; the index is the kernel's number, the same on every architecture we run on
// (asm-generic/resource.h).
func Rlimits() []string {
	return []string{
		"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock",
		"as", "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime",
	}
}

// RlimitNumber gives the number of a limit by its name; ok is false for a name
// that the kernel does not have.
func RlimitNumber(name string) (n int, ok bool) {
	n = slices.Index(Rlimits(), name)
	return n, n >= 0
}
