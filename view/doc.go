// Package view is what a guest sees of the machine: files of /proc and of
// /sys/devices/system/cpu that tell its limits, its usage and its load in place of the
// host's.
//
// # The mount
//
// Each guest has a file system of its own, served over its own connection to /dev/fuse:
//
//	vserver start             guest's first process            vserverd
//	opens /dev/fuse, mounts
//	  it nowhere, answers the
//	  first requests itself
//	hands the connection to  ------------------------------->  puts it with its keeper,
//	  vserverd                                                   answers from now on
//	hands the mount to  --->  binds its files over /proc's,
//	                          lets go of the rest
//
// So a guest can see no numbers but its own: which guest asks is told by the connection,
// and by nothing that somebody sends. Nothing is to be cleared away: with the guest's
// last process the mount goes, and the connection with it. A guest that asks a lot waits
// for itself. The kernel remembers names and attributes for ever, since those that a
// guest's mounts stand on never change; the numbers are asked for at each read.
//
// # Death of the server
//
// vserverd's keeper holds the connection and a page of shared memory. The one request
// that is being answered stands in that page, where the kernel itself wrote it (see
// Slot): a server that dies leaves it to the next, which answers it first. What was not
// read yet waits in the kernel. So a reader waits a little, and never gets an error; on
// every kernel, as nothing of FUSE_NOTIFY_RESEND (Linux 6.9) is needed. The load
// averages stand in the page too.
//
// Only when vserverd and its keeper die in the same moment the connection is closed and
// reads give ENOTCONN; the guest's next start mends that. Under systemd the
// keeper is systemd.
//
// # The numbers
//
// They are pure functions of the host's text and of what the control groups count (v2,
// or v1 where a hybrid host has its controllers), gathered when a file is read and kept
// for Fresh, so that a reader in a loop costs little. A file that was opened shows one
// moment until it is read from its beginning again.
//
// Processors: those that the guest's cpuset allows, the first so many of them as its
// share of time comes to, rounded up. They keep their numbers, so that taskset(1) means
// what it says. sched_getaffinity(2), which nproc(1) and Go ask, is the kernel's own: it
// tells the cpuset, and nothing of a share.
//
// sysinfo(2) is the kernel's own too, but for the uptime, which the time namespace sets
// right. To change the rest each call would be left to a supervisor (seccomp user
// notification): every process of a guest with views would carry a filter that can make
// it wait for vserverd in a system call, and get ENOSYS once that and its keeper are
// dead. procps, htop, the JVM, Go and nginx read files; busybox's free and uptime call
// sysinfo. The price is high and the gain small, so it is left (2026-11).
package view
