// Package rtm is messages to the kernel's routing that the netlink library has no words
// for.
package rtm

import (
	"encoding/binary"
	"net"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// Configure sets a link's alias, what the kernel keeps for its IPv4, and, when all that
// is behind it is one guest, that it answers for all the world there and gets no
// link-local IPv6 address; in one message instead of a file for each.
func Configure(index int, alias string, alone bool) error {
	// Numbers of linux/ip.h, IPV4_DEVCONF_*.
	const (
		forwarding       = 1
		proxyARP         = 3
		acceptRedirects  = 4
		secureRedirects  = 5
		sendRedirects    = 6
		rpFilter         = 8
		acceptSourceWays = 9
	)
	const (
		afSpec      = 26 // IFLA_AF_SPEC, and what it holds: linux/if_link.h
		inetConf    = 1  // IFLA_INET_CONF
		addrGenMode = 8  // IFLA_INET6_ADDR_GEN_MODE
		noAddress   = 1  // IN6_ADDR_GEN_MODE_NONE
	)
	req := nl.NewNetlinkRequest(syscall.RTM_SETLINK, syscall.NLM_F_ACK)
	msg := nl.NewIfInfomsg(syscall.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	spec := nl.NewRtAttr(afSpec, nil)
	conf := spec.AddRtAttr(syscall.AF_INET, nil).AddRtAttr(inetConf, nil)
	for _, c := range []struct{ what, value int }{
		{forwarding, 1}, {rpFilter, 1}, {acceptRedirects, 0}, {secureRedirects, 0},
		{sendRedirects, 0}, {acceptSourceWays, 0},
	} {
		conf.AddRtAttr(c.what, nl.Uint32Attr(uint32(c.value)))
	}
	if alone {
		// A guest that gives itself an on-link prefix after all finds its neighbours.
		conf.AddRtAttr(proxyARP, nl.Uint32Attr(1))
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err == nil && alone {
		spec.AddRtAttr(syscall.AF_INET6, nil).AddRtAttr(addrGenMode, []byte{noAddress})
	}
	req.AddData(spec)
	req.AddData(nl.NewRtAttr(syscall.IFLA_IFALIAS, []byte(alias)))
	_, err := req.Execute(syscall.NETLINK_ROUTE, 0)
	return err
}

// Protocol marks our routes and proxies; 'v'. Those below 200 that iproute2's rt_protos
// does not name are free.
const Protocol = 118

// ndaProtocol is NDA_PROTOCOL of linux/neighbour.h, 5.0.
const ndaProtocol = 12

// Proxy is an address that the host answers for on a link.
type Proxy struct {
	Link int
	IP   net.IP
}

// SetProxy has the host answer for an address on a link, under our mark.
func SetProxy(index, family int, ip net.IP) error {
	req := nl.NewNetlinkRequest(syscall.RTM_NEWNEIGH, syscall.NLM_F_ACK|syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE)
	req.AddData(&netlink.Ndmsg{
		Family: uint8(family), Index: uint32(index), State: netlink.NUD_PERMANENT, Flags: netlink.NTF_PROXY,
	})
	req.AddData(nl.NewRtAttr(netlink.NDA_DST, ip))
	req.AddData(nl.NewRtAttr(ndaProtocol, []byte{Protocol}))
	_, err := req.Execute(syscall.NETLINK_ROUTE, 0)
	return err
}

// Proxies lists the addresses of a family that the host answers for under our mark.
func Proxies(family int) ([]Proxy, error) {
	req := nl.NewNetlinkRequest(syscall.RTM_GETNEIGH, syscall.NLM_F_DUMP)
	req.AddData(&netlink.Ndmsg{Family: uint8(family), Flags: netlink.NTF_PROXY})
	msgs, err := req.Execute(syscall.NETLINK_ROUTE, syscall.RTM_NEWNEIGH)
	if err != nil {
		return nil, err
	}
	var out []Proxy
	for _, m := range msgs {
		if p, ok := parseProxy(m); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// parseProxy reads a neighbour message (struct ndmsg and attributes).
func parseProxy(m []byte) (p Proxy, mine bool) {
	const size = 12 // of struct ndmsg
	if len(m) < size || m[10]&netlink.NTF_PROXY == 0 {
		return Proxy{}, false
	}
	p.Link = int(binary.NativeEndian.Uint32(m[4:]))
	attrs, err := nl.ParseRouteAttr(m[size:])
	if err != nil {
		return Proxy{}, false
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case netlink.NDA_DST:
			p.IP = net.IP(a.Value)
		case ndaProtocol:
			mine = len(a.Value) > 0 && a.Value[0] == Protocol
		}
	}
	return p, mine && p.IP != nil
}
