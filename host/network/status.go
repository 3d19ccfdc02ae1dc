package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"syscall"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/proc"
	"vserver/ncontext"
	"vserver/ncontext/shared"
)

// Status is what a guest that runs did in the network, by its note; nil for one whose
// network is not watched, or cannot be told of. When a program that holds guests of mode
// shared in is missing, that is the error, and the network of all of them is shut here
// and now.
func Status(d guest.Dirs, g *cgroup.Group, path string, was *state.Note) (*guest.NetStatus, error) {
	switch was.Mode {
	case guest.NetShared:
		return sharedStatus(d, path)
	case guest.NetPrivate:
		return privateStatus(d, g, was), nil
	}
	return nil, nil
}

// privateStatus is what a guest of mode private did in the network.
func privateStatus(d guest.Dirs, g *cgroup.Group, was *state.Note) *guest.NetStatus {
	from, err := ncontext.OpenUsage(d)
	if err != nil {
		return nil
	}
	defer from.Close()
	dir, err := proc.Open()
	if err != nil {
		return nil
	}
	defer dir.Close()
	return Used(from, dir, g, was)
}

// Used is what a guest did in the network; nil when it cannot be said, as of one
// that is ending.
func Used(from *ncontext.Usage, d *proc.Dir, g *cgroup.Group, was *state.Note) *guest.NetStatus {
	switch was.Mode {
	case guest.NetShared:
		id, err := inode(g.FD())
		if err != nil {
			return nil
		}
		st, _ := from.Shared(id)
		return st
	case guest.NetPrivate:
		st, err := from.Private(was.XID)
		if errors.Is(err, guest.ErrNotFound) {
			st, err = new(guest.NetStatus), nil
		}
		own, procErr := d.Net(was.PID)
		if err != nil || procErr != nil {
			return nil
		}
		st.Sockets, st.Connections, st.Made = uint64(own.Sockets), uint64(own.Connections), uint64(own.Made)
		return st
	}
	return nil
}

// Lease gives the addresses that a guest that runs has by DHCP, by its note, and what is the matter
// when it asks for one and has none.
func Lease(d guest.Dirs, n guest.Name, was *state.Note) (now []netip.Prefix, problem string) {
	if was.Mode != guest.NetPrivate {
		return nil, ""
	}
	now, word, err := ncontext.Lease(d, n, func() (*os.File, error) { return networkOf(was.PID) })
	switch {
	case errors.Is(err, guest.ErrStopped):
	case err != nil:
		problem = err.Error()
	case word != "" && len(now) == 0:
		problem = "no IPv4 address: " + word
	}
	return now, problem
}

func sharedStatus(d guest.Dirs, group string) (*guest.NetStatus, error) {
	set, err := shared.Find(d)
	if errors.Is(err, guest.ErrNotFound) {
		return nil, errors.New("the programs are gone, nothing holds the guest in; start any guest of mode shared, or restart this one")
	}
	if err != nil {
		return nil, err
	}
	defer set.Close()
	var st syscall.Stat_t
	if err := syscall.Stat(group, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: group, Err: err}
	}
	if err := set.Exposed(); err != nil {
		return nil, errors.Join(fmt.Errorf("is shut until a guest of mode shared starts: %w", err), set.Shut())
	}
	s, err := set.Stats(st.Ino)
	if err != nil {
		return nil, err
	}
	return ncontext.Status(s), nil
}

// Unfiltered says what is wrong when a running guest's rules are not in the packet
// filter, as after `nft flush ruleset`; "" when they are, or there are none.
func Unfiltered(d guest.Dirs, n guest.Name, spec *guest.Spec) string {
	missing, err := ncontext.Unfiltered(&ncontext.Guest{Name: n, Spec: spec})
	if err != nil {
		return err.Error()
	}
	if !missing {
		return ""
	}
	if was, err := state.ReadNote(d, n); err != nil || was == nil || was.Mode != spec.Network.Mode {
		return "" // it has another network than its spec says
	}
	return "its rules are gone from the host's packet filter (flushed?): restart it, or change network.firewall"
}
