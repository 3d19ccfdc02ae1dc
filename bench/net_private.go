package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/ncontext/private"
)

// private times guests with a network of their own beside the links that others give
// theirs: a veth pair with an address at each end (systemd-nspawn --network-veth, runc
// with a hook) and a veth at a bridge (LXC, Docker, nspawn --network-bridge). All are
// in one namespace that plays the host.
func (b *bench) private() (err error) {
	runtime.LockOSThread() // and never unlocked: its namespace ends with it
	host, err := namespace()
	if err != nil {
		return err
	}
	defer host.Close()
	p := &privates{bench: b, host: host, dirs: guest.DefaultDirs(b.work + "/private")}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.peers(); err != nil {
		return err
	}
	if err := p.ours(); err != nil {
		return err
	}
	at := func(name, address string) end { return end{p.spaces[name], -1, address} }
	local := end{host, -1, "127.0.0.1"}
	toHost := []pair{
		{"veth pair", local, at("pair", "10.20.1.2")},
		{"veth at a bridge", local, at("bridge", "10.20.2.2")},
		{"loopback", local, local},
		{"routed", local, at("routed", "10.20.3.2")},
		{"link: bridge", local, at("bridged", "10.20.4.2")},
	}
	among := []pair{
		{"veth pairs, forwarded", at("pair", ""), at("pair2", "10.20.5.2")},
		{"veths at a bridge", at("bridge", ""), at("bridge2", "10.20.2.3")},
		{"routed", at("routed", ""), at("routed2", "10.20.3.3")},
		{"link: bridge", at("bridged", ""), at("bridged2", "10.20.4.3")},
	}
	for _, of := range []struct {
		what  string
		pairs []pair
	}{{"host to guest", toHost}, {"guest to guest", among}} {
		for _, m := range []struct{ kind, unit string }{
			{"tcp", "1-byte TCP round trip, µs"}, {"stream", "TCP, µs for a MiB"}, {"connect", "connect, accept, close, µs"},
		} {
			fmt.Printf("  %s\n", of.what)
			if err := b.exchange(m.kind, m.unit, of.pairs); err != nil {
				return err
			}
		}
	}
	return p.starts()
}

// privates is the ground of the table private.
type privates struct {
	*bench
	host   *os.File
	dirs   guest.Dirs
	spaces map[string]*os.File
	xids   []guest.XID
}

// namespace moves the thread into a new network namespace and opens it.
func namespace() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("unshare: %w", err)
	}
	if err := run("ip", "link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	return os.Open("/proc/thread-self/ns/net")
}

// space makes a guest's namespace and comes back to the host's.
func (p *privates) space(name string) (string, error) {
	f, err := namespace()
	if err == nil {
		if p.spaces == nil {
			p.spaces = map[string]*os.File{}
		}
		p.spaces[name] = f
		err = unix.Setns(int(p.host.Fd()), unix.CLONE_NEWNET)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), nil
}

// peers makes the links of others.
func (p *privates) peers() error {
	if err := run("ip", "link", "add", "peer0", "type", "bridge"); err != nil {
		return err
	}
	if err := errors.Join(run("ip", "address", "add", "10.20.2.1/24", "dev", "peer0"), run("ip", "link", "set", "peer0", "up"),
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)); err != nil {
		return err
	}
	for _, l := range []struct{ name, outer, inner, gateway string }{
		{"pair", "10.20.1.1/30", "10.20.1.2/30", "10.20.1.1"}, {"pair2", "10.20.5.1/30", "10.20.5.2/30", "10.20.5.1"},
		{"bridge", "", "10.20.2.2/24", "10.20.2.1"}, {"bridge2", "", "10.20.2.3/24", "10.20.2.1"},
	} {
		space, err := p.space(l.name)
		if err != nil {
			return err
		}
		if err := run("ip", "link", "add", l.name, "type", "veth", "peer", "name", "eth0", "netns", space); err != nil {
			return err
		}
		if l.outer != "" {
			err = run("ip", "address", "add", l.outer, "dev", l.name)
		} else {
			err = run("ip", "link", "set", l.name, "master", "peer0")
		}
		inside := end{netns: p.spaces[l.name]}
		err = errors.Join(err, run("ip", "link", "set", l.name, "up"), inside.in(func() error {
			return errors.Join(run("ip", "address", "add", l.inner, "dev", "eth0"), run("ip", "link", "set", "eth0", "up"),
				run("ip", "route", "add", "default", "via", l.gateway))
		}), end{netns: p.host}.in(func() error { return nil }))
		if err != nil {
			return err
		}
	}
	return nil
}

// ours makes our links.
func (p *privates) ours() error {
	for i, l := range []struct {
		name, address string
		link          guest.NetLink
	}{
		{"routed", "10.20.3.2/24", guest.LinkRouted}, {"routed2", "10.20.3.3/24", guest.LinkRouted},
		{"bridged", "10.20.4.2/24", guest.LinkBridge}, {"bridged2", "10.20.4.3/24", guest.LinkBridge},
	} {
		if _, err := p.space(l.name); err != nil {
			return err
		}
		s := p.spec(guest.XID(100+i), l.address)
		if s.Network.Link = l.link; l.link == guest.LinkBridge {
			s.Network.Gateway = []netip.Addr{netip.MustParseAddr("10.20.4.1")}
		}
		if err := p.up(s, p.spaces[l.name]); err != nil {
			return err
		}
	}
	return nil
}

func (p *privates) spec(xid guest.XID, address string) *guest.Spec {
	s := &guest.Spec{XID: xid}
	s.Network.Mode = guest.NetPrivate
	s.Network.Addresses = []guest.Address{{Prefix: netip.MustParsePrefix(address)}}
	return s
}

func (p *privates) up(s *guest.Spec, space *os.File) error {
	p.xids = append(p.xids, s.XID)
	return private.Up(private.Guest{Spec: s, Name: guest.Name(fmt.Sprint("g", s.XID)), Netns: int(space.Fd()), Dirs: p.dirs})
}

// starts times what a network adds to the start and the stop of a guest.
func (p *privates) starts() error {
	for _, link := range []guest.NetLink{guest.LinkRouted, guest.LinkBridge} {
		var ups, downs []time.Duration
		for i := range max(20, p.rounds) {
			name := fmt.Sprint("timed", i)
			if _, err := p.space(name); err != nil {
				return err
			}
			s := p.spec(guest.XID(200+i), fmt.Sprintf("10.20.6.%d/24", 2+i%250))
			s.Network.Link = link
			begin := time.Now()
			if err := p.up(s, p.spaces[name]); err != nil {
				return err
			}
			ups = append(ups, time.Since(begin))
			begin = time.Now()
			if err := private.Down(s.XID, p.dirs); err != nil {
				return err
			}
			downs = append(downs, time.Since(begin))
			p.spaces[name].Close()
			delete(p.spaces, name)
		}
		fmt.Printf("  link: %-8s Up %v, Down %v (medians of %d)\n", link, quantile(ups, 0.5), quantile(downs, 0.5), len(ups))
	}
	return nil
}

// close takes everything back.
func (p *privates) close() error {
	var errs []error
	slices.Sort(p.xids)
	for _, x := range slices.Compact(p.xids) {
		errs = append(errs, private.Down(x, p.dirs))
	}
	for _, f := range p.spaces {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
