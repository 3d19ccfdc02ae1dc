// Package facade is the network flag hide_netif: a guest that sits in a network
// namespace of its own, which shows its addresses and nothing of the host's, and that
// reaches the network by sockets of the host's stack, handed in one by one.
//
//	guest's process          kernel                     server
//	socket(AF_INET, ...) --> filter: stop, tell    -->  takes the request
//	                                                    socket(AF_INET, ...) in the host's
//	                                                    network and the guest's control group
//	returns the number   <-- puts it into the      <--  hands the socket over, answers
//	                         caller's table
//
// What a socket of AF_INET or AF_INET6 for streams or datagrams does from then on is
// the kernel's business alone, at native speed and under the BPF programs of the
// guest's network context, since the socket was born in the guest's control group.
// Everything else (netlink, /proc/net, abstract unix sockets, packet and raw sockets,
// /sys/class/net) is of the guest's own namespace. What no program of ours thought of
// lands there too: the form is closed where it fails.
//
// # The server
//
// A guest has a server for its init's processes and one for each `vserver exec` that
// still has any: a filter, and so its listener, belongs to one tree of processes. The
// server is a program of some 700 bytes in the Go assembler's language (program_*.s,
// see package reaper for the manner), which costs a guest less than 100 KiB. It is in the group
// cgroup.ServerLeaf below the guest's: the guest's limits hold for it, its sockets'
// memory is the guest's, it ends, freezes and is killed with the guest. It has the
// guest's root ids, as the user namespace above the guest's knows them, and of that
// namespace's capabilities just what its work takes; none over the host. One server
// waits for one tree alone: no guest has to wait for another.
//
// Its files are
//
//	0 the listener: closed by all, it would leave the guest without answers for good
//	  (ENOSYS, never a socket of another kind)
//	1 the page, shared memory in which the request stands that is being served
//	2 a pidfd of the guest's init: the server ends with it
//	3 a socket of the guest's own network namespace, to ask for interfaces there
//
// # Death of a server
//
// vserverd and its keeper hold the same files. When a server is killed, vserverd
// starts another, which begins with the request that stands in the page: the caller
// has waited a little. A request that the dead one had answered by half, its socket
// handed over and the number not yet told, is finished first (see Tree.Revive). When
// vserverd and its keeper die nothing happens: servers need nobody, and the next
// vserverd takes the files from them (Find). When all three die at once, the guest's
// socket() fails with ENOSYS, and status says so.
//
// # Details
//
// The socket belongs to the calling thread's file system user id where the kernel
// tells that (6.13, PIDFD_GET_INFO), else to the guest's root. It decides who may
// share a port by SO_REUSEPORT, and which user a routing rule or a firewall sees.
//
// A filter gives the answer in two steps (ADDFD, then SEND) and not in one
// (ADDFD_FLAG_SEND): a server killed in the middle of that would make the call return
// 0, as if it were the caller's standard input (seen in the kernel's source, 5.14 to
// 6.18). It costs 3 µs of 10.
//
// A guest's process that stops another by ptrace at the right moment, or a second
// filter with a listener (EBUSY: a tree has one), is not helped.
//
// Decided 2026-11: a server for each guest, not one for the host: sockets belong to
// the control group of their maker's, and moving there takes milliseconds.
package facade
