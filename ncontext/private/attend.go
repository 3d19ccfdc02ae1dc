package private

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/ncontext/dhcp"
	"vserver/ncontext/private/announce"
	"vserver/ncontext/private/held"
	"vserver/ncontext/private/port"
	"vserver/ncontext/private/rtm"
)

// attended is the file in a guest's directory of notes by which vserverd sees, without
// a look at the spec, that the guest's network wants more than its start could do. Of a guest
// with DHCP it has in it what was said of the lease last.
func attended(dirs guest.Dirs, n guest.Name) string {
	return filepath.Join(dirs.State(n), "attended")
}

// leave a word for vserverd, or take away that of an earlier start.
func (u *up) tell() error {
	path := attended(u.Dirs, u.Name)
	onlink := slices.ContainsFunc(u.addrs, func(a addr) bool { return a.onlink != 0 })
	if !u.net.DHCP && !onlink {
		return file.Forget(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	var word []byte
	if u.net.DHCP {
		word = []byte("dhcp: no server has answered yet")
	}
	return os.WriteFile(path, word, 0o600)
}

// Attended tells whether there is something for Attend to do for a guest that runs.
func Attended(dirs guest.Dirs, n guest.Name) bool {
	_, err := os.Stat(attended(dirs, n))
	return err == nil
}

// Attend does for a guest that runs what its start had no time for, until ctx ends: it
// tells the host's neighbours where the guest's addresses are now, and gets and keeps
// the guest's lease. What goes wrong is said, and tried again.
func Attend(ctx context.Context, g Guest, say func(format string, args ...any)) {
	if g.Spec.Network.DHCP {
		if err := lease(ctx, g, say); err != nil {
			say("%v", err)
		}
		return
	}
	if err := announceAll(g.Spec); err != nil {
		say("%v", err)
	}
}

// lease keeps a guest's lease.
func lease(ctx context.Context, g Guest, say func(format string, args ...any)) error {
	inner, err := netlink.NewHandleAt(netns.NsHandle(g.Netns), syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink of the guest: %w", err)
	}
	defer inner.Close()
	l, err := inner.LinkByName(inside)
	if err != nil {
		return fmt.Errorf("guest's link %s: %w", inside, err)
	}
	t := &tenant{Guest: g, inner: inner, link: l, say: say}
	t.say = func(format string, args ...any) {
		say(format, args...)
		t.note(fmt.Sprintf(format, args...))
	}
	c := &dhcp.Client{
		Asker: dhcp.Asker{Hardware: l.Attrs().HardwareAddr, Hostname: g.Spec.Hostname},
		Link:  l.Attrs().Index, Take: t.take, Say: t.say,
	}
	have, err := t.addresses()
	if err != nil {
		return err
	}
	for _, a := range have {
		c.Have, _ = netip.AddrFromSlice(a.IP.To4())
	}
	if err := held.Within(g.Netns, c.Open); err != nil {
		return err
	}
	c.Run(ctx)
	return nil
}

// tenant is a guest with a lease.
type tenant struct {
	Guest
	inner *netlink.Handle
	link  netlink.Link
	dns   []netip.Addr // of the lease before
	say   func(format string, args ...any)
}

// note leaves a word on the lease for who asks how the guest is.
func (t *tenant) note(word string) {
	if Attended(t.Dirs, t.Name) {
		os.WriteFile(attended(t.Dirs, t.Name), []byte(word), 0o600) // vserverd has said it as well
	}
}

// Said is what was said last of the lease of a guest that was started with DHCP; "" for another.
func Said(dirs guest.Dirs, n guest.Name) string {
	word, _ := os.ReadFile(attended(dirs, n))
	return string(word)
}

// Leased gives the IPv4 addresses that the link of a guest's namespace has.
func Leased(netspace int) (out []netip.Prefix, err error) {
	inner, err := netlink.NewHandleAt(netns.NsHandle(netspace), syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink of the guest: %w", err)
	}
	defer inner.Close()
	l, err := inner.LinkByName(inside)
	if err != nil {
		return nil, fmt.Errorf("guest's link %s: %w", inside, err)
	}
	list, err := (&tenant{inner: inner, link: l}).addresses()
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok {
			bits, _ := a.Mask.Size()
			out = append(out, netip.PrefixFrom(ip, bits))
		}
	}
	return out, err
}

// addresses gives the IPv4 addresses of the guest's link.
func (t *tenant) addresses() ([]netlink.Addr, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return t.inner.AddrList(t.link, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("guest's addresses: %w", err)
	}
	return list, nil
}

// take gives the guest's link what a lease says: the rules of its port first, then the
// address, which ends by itself when nobody renews it, then the routes.
func (t *tenant) take(l *dhcp.Lease) error {
	var now []netip.Addr
	if l != nil {
		now = append(now, l.Prefix.Addr())
	}
	if err := t.admit(now); err != nil {
		return err
	}
	old, err := t.addresses()
	if err != nil {
		return err
	}
	had := len(old)
	if l != nil {
		seconds := int(time.Until(l.Until) / time.Second)
		at := &net.IPNet{IP: l.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(l.Prefix.Bits(), 32)}
		if err := t.inner.AddrReplace(t.link, &netlink.Addr{IPNet: at, ValidLft: seconds, PreferedLft: seconds}); err != nil {
			return fmt.Errorf("guest's address %s: %w", l.Prefix, err)
		}
		old = slices.DeleteFunc(old, func(a netlink.Addr) bool { return a.IPNet.String() == at.String() })
	}
	for _, a := range old {
		if err := t.inner.AddrDel(t.link, &a); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("guest's address %s: %w", a.IPNet, err)
		}
	}
	if len(now) != had || len(old) > 0 {
		t.moved()
	}
	if l == nil {
		return nil // the routes went with the address
	}
	t.resolve(l.DNS)
	return t.route(l)
}

// moved tells that the guest has other addresses than before.
func (t *tenant) moved() {
	if t.Moved != nil {
		t.Moved()
	}
}

// resolve tells the guest of other name servers than it has been told of. An address is
// of use without them, so what goes wrong is but said.
func (t *tenant) resolve(servers []netip.Addr) {
	if t.Resolve == nil || len(servers) == 0 || slices.Equal(servers, t.dns) {
		return
	}
	t.dns = servers
	if err := t.Resolve(servers); err != nil {
		t.say("name servers: %v", err)
	}
}

// route puts the routes of a lease in the place of those of the one before.
func (t *tenant) route(l *dhcp.Lease) error {
	index := t.link.Attrs().Index
	mine := &netlink.Route{Protocol: rtm.Protocol, LinkIndex: index}
	old, err := dump(func() ([]netlink.Route, error) {
		return t.inner.RouteListFiltered(netlink.FAMILY_V4, mine, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return fmt.Errorf("guest's routes: %w", err)
	}
	for _, r := range l.Routes {
		to := &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), 32)}
		route := &netlink.Route{Dst: to, LinkIndex: index, Protocol: rtm.Protocol, Src: l.Prefix.Addr().AsSlice()}
		if r.Via.IsValid() {
			route.Gw, route.Flags = r.Via.AsSlice(), int(netlink.FLAG_ONLINK)
		} else {
			route.Scope = netlink.SCOPE_LINK
		}
		if err := t.inner.RouteReplace(route); err != nil {
			return fmt.Errorf("guest's route to %s: %w", r.To, err)
		}
		old = slices.DeleteFunc(old, func(o netlink.Route) bool { return o.Dst.String() == to.String() })
	}
	for _, r := range old {
		if err := t.inner.RouteDel(&r); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("guest's route to %s: %w", r.Dst, err)
		}
	}
	return nil
}

// admit has the rules of the guest's port and its published ports know its addresses.
func (t *tenant) admit(leased []netip.Addr) error {
	n := &t.Spec.Network
	if n.Link != guest.LinkBridge {
		return nil
	}
	addrs := leased
	for _, a := range n.Addresses {
		addrs = append(addrs, a.Addr())
	}
	unlock, err := lock(t.Dirs)
	if err != nil {
		return err
	}
	defer unlock()
	if there, err := port.Guarded(Link(t.Spec.XID)); err != nil || !there {
		return errors.Join(err, guest.ErrStopped) // taken down meanwhile
	}
	if err := port.Guard(Link(t.Spec.XID), port.Rules{Hardware: station(t.Dirs, t.Spec.XID), Addresses: addrs, DHCP: true}); err != nil {
		return err
	}
	if len(n.Publish) == 0 {
		return nil
	}
	host, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	return t.republish(host, addrs)
}

// republish leads the published ports to the addresses that the guest has by now.
func (t *tenant) republish(host *netlink.Handle, addrs []netip.Addr) error {
	u := &up{Guest: t.Guest, xid: t.Spec.XID, net: &t.Spec.Network, host: host}
	for _, a := range addrs {
		u.addrs = append(u.addrs, newAddr(netip.PrefixFrom(a, a.BitLen())))
	}
	if err := u.joined(); err != nil {
		return err
	}
	return u.shield()
}

// announceAll tells the neighbours of the host that it answers for the guest's addresses
// now: a gratuitous ARP, an unsolicited neighbour advertisement.
func announceAll(spec *guest.Spec) error {
	host, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	var errs []error
	for _, p := range spec.Network.Addresses {
		a := newAddr(p.Prefix)
		list, err := dump(func() ([]rtm.Proxy, error) { return rtm.Proxies(a.number) })
		if err != nil {
			return err
		}
		for _, at := range list {
			link, err := host.LinkByIndex(at.Link)
			if err != nil || len(link.Attrs().HardwareAddr) != 6 || !at.IP.Equal(a.ip) {
				continue // gone meanwhile, or of a kind that has no neighbours
			}
			errs = append(errs, announce.At(at.Link, link.Attrs().HardwareAddr, a.Addr()))
		}
	}
	return errors.Join(errs...)
}
