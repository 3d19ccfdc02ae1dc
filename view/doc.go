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
// vserverd's keeper holds the connection and a piece of shared memory. The one request
// that is being answered stands in it, where the kernel itself wrote it (see
// Slot): a server that dies leaves it to the next, which answers it first. What was not
// read yet waits in the kernel. So a reader waits a little, and never gets an error; on
// every kernel, as nothing of FUSE_NOTIFY_RESEND (Linux 6.9) is needed. The load
// averages stand in it too, and what was told last of files: a reader who was told a
// size by the one server is given what has that size by the next (see Kept).
//
// Only when vserverd and its keeper die in the same moment the connection is closed and
// reads give ENOTCONN; the guest's next start mends that. Under systemd the
// keeper is systemd.
//
// # The numbers
//
// They are pure functions of the host's text and of what the control groups count (v2,
// or v1 where a hybrid host has its controllers), gathered when a file is read and kept
// for Fresh. The kernel keeps what it was given and hands it to all readers of the guest
// for some 20 ms without a question; then it asks for the size and the time of the last
// change, and for the text when one of them is another (no FOPEN_DIRECT_IO, but
// FUSE_AUTO_INVAL_DATA). Files are opened and closed without us. So top(1), which opens
// /proc/uptime three times each time it looks, asks six questions and not twenty. The files
// of a control group, and the host's /proc/meminfo, stay open from the first look on: to open one costs more than to read it.
//
// Processors: those that the guest's cpuset allows, the first so many of them as its
// share of time comes to, rounded up. They keep their numbers, so that taskset(1) means
// what it says.
//
// # System calls
//
// sysinfo(2) and sched_getaffinity(2), by which busybox, musl, nproc(1), Go, Python and
// others learn what the machine is, are left to vserverd by the guest's filter
// (package daemon/calls) and answered with a Size. Only guests with a view have such a
// filter. Who asks waits as a reader does when vserverd is killed, and can itself be
// killed meanwhile; with vserverd and its keeper dead at once these two calls fail with
// ENOSYS. A thread under a filter with a listener cannot have a second one, so a guest
// in which somebody needs that (a container runtime that supervises its own) has both
// calls taken out by rights.syscalls. The affinity of another thread is the kernel's own.
//
//house:allow a file for each of the machine's, and one that gathers what all of them tell
package view
