// Package seccomp compiles the system call filter of a guest.
//
// The filter is an allow-list: policy.txt says of every call that is known whether
// a guest may make it, and why not. What is refused answers EPERM; what no table
// knows, ENOSYS, so that a C library newer than us falls back to older calls.
// Sockets of refused families and protocols answer as a kernel built without them.
// Nothing is killed and nothing is logged: a guest could fill the host's log.
//
// Calls of another architecture (32-bit programs, x32) answer ENOSYS as well: their
// numbers differ, socketcall(2) of i386 hides its arguments, and io_uring, whose
// requests no filter sees, is refused as a whole. [Bits32] lets 32-bit programs in.
//
// A filter is a classic BPF program of some 120 instructions: architecture, then
// ioctl, which is frequent and has arguments to look at, then a balanced search over
// ranges of numbers. The kernel finds out which numbers are allowed whatever their
// arguments and does not run the program for them (since 5.11); what it can follow
// for that is loads of number and architecture and jumps on constants, so nothing
// else stands before those answers.
//
// Decided 2026-11: our own compiler, because a filter is compiled at each start of
// a guest, which takes 4 ms in all. Libraries made for this need from 1 ms to 15 ms
// and most of them libseccomp, a C library. This takes 6 µs.
package seccomp

//go:generate go run ./gen
