// Package spawn runs code between clone and exec, from Go.
//
// A guest's first process must be cloned into new namespaces, mount its root, give
// up its rights and only then execute the init; a command in a guest must join
// namespaces that no multithreaded process can join (setns(2) into a user namespace
// fails with EINVAL there). A forked child of a Go program may not run Go: the
// scheduler and the collector did not come along. Other tools re-execute themselves
// with a C constructor, or talk across pipes with a state machine on both sides.
//
// Here the child runs a Table: raw system calls with prepared arguments, in order,
// by one loop that needs nothing of the runtime (fork.go). Everything else is data,
// made in the parent before the fork, and can be printed. Results can be kept in
// registers for later calls; one entry may fork again, after which the new process
// goes on with the table and the old one ends. Success is end-of-file on the report
// pipe, which execve closes; failure is (entry, errno) on it.
//
// Decided 2026-11: this instead of a second start of our own binary, which costs
// 1.5 ms and two messages (measured 0.76 ms for entering against 2.2 ms of
// nsenter(1)).
//
//house:allow a table, all that may stand in it, and the two ways to follow it
package spawn
