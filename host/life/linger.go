package life

import (
	"fmt"
	"syscall"

	"vserver/host/state"
	"vserver/kernel/pidfd"
	"vserver/spawn"
)

// held is what a stop has of a running guest's init; nothing when there is none.
type held struct{ pidfd, root []int }

// hold takes a pidfd of the guest's init, whose end is told at once, and its root, so
// that the end of the last mount is not the init's own to wait for.
func (r *Run) hold() {
	was, err := state.ReadNote(r.dirs, r.name)
	if err != nil || was == nil {
		return
	}
	fd, err := pidfd.Open(was.PID)
	if err != nil {
		return
	}
	r.held.pidfd = []int{fd}
	if root, err := syscall.Open(fmt.Sprintf("/proc/%d/root", was.PID), syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0); err == nil {
		r.held.root = []int{root}
	}
}

// linger lets go of what is held.
func (h held) linger(leave func()) {
	for _, fd := range h.pidfd {
		syscall.Close(fd)
	}
	if len(h.root) > 0 {
		linger(h.root, leave)
	}
}

// linger lets go of descriptors that are the last to hold a guest's mounts, without
// waiting for what comes of it: an overlay that ends has all of its upper file system
// written out, and waits for several grace periods of the kernel's, 0.5 ms and more. A
// process of its own does that, and leave leaves it the guest's lock: whoever wants to
// start the guest again waits for it. When there can be no such process, we are the one.
func linger(fds []int, leave func()) {
	t := &spawn.Table{}
	t.Close(0, 1, 2) // nobody who reads our output waits for it
	t.Await("the other holder")
	t.Close(fds...)
	t.End()
	c, err := spawn.Start(t, spawn.Options{Cgroup: -1, Share: true})
	for _, fd := range fds {
		syscall.Close(fd)
	}
	if err != nil {
		return
	}
	leave()
	c.Open()
	go func() { // should we live that long
		c.Wait()
		c.Close()
	}()
}
