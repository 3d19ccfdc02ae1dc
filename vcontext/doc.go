// Package vcontext is the process context: the namespaces of a guest, who its
// processes are, and what is taken from them before the first of them runs.
//
// Two user namespaces are made for a guest with ids of its own. The outer one is the
// tool's: it maps the guest's range onto itself and holds ceilings (namespaces of
// each kind, processes) that the guest's root cannot lift, since it has no rights
// there. The inner one is the guest's: it maps 0 to the range and owns all other
// namespaces. The outer one is made by the guest's root id, so that the kernel's
// counters for the initial user namespace (inotify instances and the like) run for
// each guest apart.
//
// The first process of a start, by entry of the table:
//
//	clone3 INTO_CGROUP NEWUSER   outer namespace; waits for its id map
//	ceilings, time namespace
//	clone3 NEWUSER NEWPID ...    the guest's; waits for its id map and mounts
//	root, /dev, /proc, /sys      attached after pivot_root: links in the guest's root
//	                             lead nowhere but into the guest
//	names, limits, terminal, filter, capabilities, execve
package vcontext
