package private

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"

	"vserver/fault"
	"vserver/guest"
	"vserver/ncontext/private/route"
	"vserver/ncontext/private/rtm"
)

// uplink is a link of the host.
type uplink struct {
	index int
	name  string
	mtu   int
}

// survey asks where the guest's addresses would go now and where its packets will.
// An address that is the host's own or another guest's is refused.
func (u *up) survey() error {
	u.mtu = defaultMTU
	if len(u.addrs) == 0 {
		return nil
	}
	var onlink, away []uplink
	for i := range u.addrs {
		a := &u.addrs[i]
		link, kind, err := u.way(a.ip)
		switch {
		case err != nil:
			return err
		case kind == local && !slices.Contains(u.leaving, a.Addr()):
			return fault.Hint(fmt.Errorf("address %s: is the host's own: %w", a.ip, guest.ErrInvalid),
				"see `ip route get "+a.ip.String()+"`")
		case kind == ours && link.name != Link(u.xid) && link.name != u.bridgeName():
			return fmt.Errorf("address %s: has a guest behind %s: %w", a.ip, link.name, guest.ErrBusy)
		case kind == neighbours && u.routed():
			a.onlink = link.index
			onlink = append(onlink, link)
		}
		if link, _, err = u.way(a.far); err != nil {
			return err
		}
		if link.index != 0 {
			away = append(away, link)
		}
	}
	for _, gw := range u.net.Gateway {
		link, _, err := u.way(gw.AsSlice())
		if err != nil {
			return err
		}
		if link.index != 0 && u.routed() {
			away = append(away, link)
		}
	}
	for i, l := range append(onlink, away...) {
		if i == 0 {
			u.mtu = l.mtu
		}
		if !slices.Contains(u.uplinks, l) {
			u.uplinks = append(u.uplinks, l)
		}
	}
	return nil
}

// lead has what the guest sends leave by its own routers.
func (u *up) lead() error {
	table := u.net.Table
	if table == 0 && len(u.net.Gateway) > 0 {
		table = u.xid.Table()
	}
	return route.Up(u.host, u.xid, addrsOf(u.addrs), u.net.Gateway, table)
}

// kind is what stands at the end of a route.
type kind int

// The kinds.
const (
	nowhere    kind = iota
	local           // the host itself
	ours            // a guest
	neighbours      // a link of the host
	routed          // a router on a link of the host
)

// way asks by which link the host would reach an address.
func (u *up) way(ip net.IP) (uplink, kind, error) {
	routes, err := u.host.RouteGet(ip)
	switch {
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), err == nil && len(routes) == 0,
		errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EACCES): // blackhole, prohibit
		return uplink{}, nowhere, nil
	case err != nil:
		return uplink{}, nowhere, fmt.Errorf("route to %s: %w", ip, err)
	}
	r := routes[0]
	if r.Type == syscall.RTN_LOCAL || r.Type == syscall.RTN_BROADCAST {
		return uplink{}, local, nil
	}
	link, err := u.host.LinkByIndex(r.LinkIndex)
	if err != nil {
		return uplink{}, nowhere, fmt.Errorf("link %d: %w", r.LinkIndex, err)
	}
	out := uplink{r.LinkIndex, link.Attrs().Name, link.Attrs().MTU}
	switch {
	case link.Attrs().Group == group:
		return out, ours, nil
	case len(r.Gw) > 0 && !r.Gw.IsUnspecified():
		return out, routed, nil
	}
	return out, neighbours, nil
}

// forward lets packets for guests in by the uplinks, and has the host answer there
// for the addresses.
func (u *up) forward() error {
	for _, l := range u.uplinks {
		if err := raise("ipv4", "conf", l.name, "forwarding"); err != nil {
			return err
		}
	}
	if u.has6() {
		if err := forward6(); err != nil {
			return err
		}
	}
	for _, a := range u.addrs {
		if a.onlink == 0 {
			continue
		}
		i := slices.IndexFunc(u.uplinks, func(l uplink) bool { return l.index == a.onlink })
		name := u.uplinks[i].name
		// The kernel waits for up to 0.8 s before it answers for another, lest several
		// do; here nobody else will.
		if err := lower(a.sysctl, "neigh", name, "proxy_delay"); err != nil {
			return err
		}
		if a.Addr().Is6() {
			if err := raise("ipv6", "conf", name, "proxy_ndp"); err != nil {
				return err
			}
		}
		if err := rtm.SetProxy(a.onlink, a.number, a.ip); err != nil {
			return fmt.Errorf("proxy %s dev %s: %w", a.ip, name, err)
		}
	}
	return nil
}

// forward6 switches IPv6 forwarding on, which the kernel does for all links or none.
// A link that forwards stops learning its router from advertisements unless it is
// told to go on.
func forward6() error {
	if on, err := readSysctl("ipv6", "conf", "all", "forwarding"); err != nil || on != "0" {
		return err
	}
	links, err := os.ReadDir(sysctl("ipv6", "conf"))
	if err != nil {
		return err
	}
	for _, l := range links {
		ra, err := readSysctl("ipv6", "conf", l.Name(), "accept_ra")
		if err != nil || ra != "1" {
			continue // gone meanwhile, or set on purpose
		}
		if l.Name() != "all" && l.Name() != "default" && l.Name() != "lo" {
			if err := writeSysctl("2", "ipv6", "conf", l.Name(), "accept_ra"); err != nil && !errors.Is(err, syscall.ENOENT) {
				return err
			}
		}
	}
	return writeSysctl("1", "ipv6", "conf", "all", "forwarding")
}

// linksWithAddress names the links that have an IPv4 address, but for the loopback.
func (u *up) linksWithAddress() (names []string, err error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return u.host.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	done := map[int]bool{}
	for _, a := range addrs {
		if done[a.LinkIndex] || a.IP.IsLoopback() {
			continue
		}
		done[a.LinkIndex] = true
		link, err := u.host.LinkByIndex(a.LinkIndex)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("link %d: %w", a.LinkIndex, err)
		}
		names = append(names, link.Attrs().Name)
	}
	return names, nil
}

// sysctl is the file of a setting of the calling thread's network namespace. The
// parts are not joined by dots because names of links may hold some.
func sysctl(parts ...string) string {
	return filepath.Join(append([]string{"/proc/sys/net"}, parts...)...)
}

func readSysctl(parts ...string) (string, error) {
	b, err := os.ReadFile(sysctl(parts...))
	return strings.TrimSpace(string(b)), err
}

func writeSysctl(value string, parts ...string) error {
	f, err := os.OpenFile(sysctl(parts...), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// raise makes a setting 1 that is 0; lower makes one 0 that is not.
func raise(parts ...string) error {
	if v, err := readSysctl(parts...); err != nil || v != "0" {
		return err
	}
	return writeSysctl("1", parts...)
}

func lower(parts ...string) error {
	if v, err := readSysctl(parts...); err != nil || v == "0" {
		return err
	}
	return writeSysctl("0", parts...)
}
