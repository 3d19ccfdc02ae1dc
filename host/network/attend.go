package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"vserver/guest"
	"vserver/host/state"
	"vserver/identity"
	"vserver/kernel/ns"
	"vserver/kernel/pidfd"
	"vserver/ncontext"
)

// Attend looks after the network of a guest that runs with that init: what its start had
// no time for, and what needs somebody as long as it runs. It goes on by itself until
// stop is called, which does not wait. What goes wrong is said; moved, which may be nil, is called when
// its addresses are others.
func Attend(d guest.Dirs, n guest.Name, pid int, say func(format string, args ...any), moved func()) (stop func()) {
	if !ncontext.Attended(d, n) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		netns, err := networkOf(pid)
		if err == nil {
			defer netns.Close()
			var spec *guest.Spec
			if spec, err = state.Load(d, n); err == nil {
				g := &ncontext.Guest{Name: n, Spec: spec, Dirs: d, Netns: int(netns.Fd()), Moved: moved}
				if n := spec.Network; n.DNS == nil {
					g.Resolve = func(servers []netip.Addr) error { return resolve(d, g.Name, pid, servers, n.Search) }
				}
				ncontext.Attend(ctx, g, func(format string, args ...any) { say(string(n)+": "+format, args...) })
			}
		}
		if err != nil && ctx.Err() == nil {
			say("%s: %v", n, err)
		}
	}()
	return cancel
}

// resolve writes name servers into the resolv.conf of a guest that runs with that init.
func resolve(d guest.Dirs, n guest.Name, pid int, servers []netip.Addr, search []string) error {
	was, err := state.ReadNote(d, n)
	if err != nil || was == nil || was.PID != pid {
		return errors.Join(err, guest.ErrStopped)
	}
	id := identity.Identity{Resolver: identity.Resolver{Servers: servers, Search: search}}
	return inRoot(was, id.ApplyResolver)
}

// networkOf opens the network namespace of a guest's init, and of nobody who has its
// number by now.
func networkOf(pid int) (*os.File, error) {
	alive, err := pidfd.Open(pid)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	defer syscall.Close(alive)
	netns, err := ns.Open(pid, "net")
	if err != nil {
		return nil, err
	}
	theirs, err1 := netns.Stat()
	ours, err2 := os.Stat("/proc/thread-self/ns/net")
	if now, err := pidfd.PID(alive); err != nil || now != pid || err1 != nil || err2 != nil || os.SameFile(theirs, ours) {
		netns.Close()
		return nil, fmt.Errorf("process %d: has ended: %w", pid, guest.ErrStopped)
	}
	return netns, nil
}
