// Package private is the network of mode private: a network namespace of the guest's
// own. With link routed, it is routed to the host over a pair of veth devices. For
// xid 8 with 192.0.2.10/24:
//
//	host                                      guest
//	vs8, group 0x7673, no address      <-->   eth0 192.0.2.10/24 noprefixroute
//	192.0.2.10 dev vs8 proto 118              default via 169.254.1.1 dev eth0 onlink
//	192.0.2.10 lladdr ...:00 permanent        169.254.1.1 lladdr ...:01 permanent
//	proxy 192.0.2.10 dev eth0 proto 118
//
// The guest is routed, not bridged: it owns its addresses and nothing else of the
// link that the host is on. It sees its addresses with the prefix length its owner
// gave, because programs and people read a netmask there; but no route comes of
// that: its neighbours, too, are reached through the host. Both sides know each
// other's hardware address beforehand, so that no ARP and no neighbour discovery
// passes between them, in neither direction. The next hop, 169.254.1.1 or fe80::1,
// is a name for the host's end and needs not be an address of the host.
//
// Where an address lies within a prefix of one of the host's links, the host answers
// for it there (a proxy neighbour entry, not proxy_arp for all the world). Forwarding
// is switched on for that link and the one of the default route, not for all of the
// host; IPv6 knows only all, and the links that learn their router from
// advertisements keep doing so (accept_ra 2). Packets that come out of a guest with a
// source address that is not the guest's are dropped before anything else sees them,
// by one rule for all guests (table inet vserver), since rp_filter can be loosened by
// a host-wide setting and does not exist for IPv6.
//
// Nothing is announced to the link: a gratuitous ARP needs a packet socket, whose end
// the kernel lets wait for 5 to 10 ms. A router that remembers an address at another
// machine finds out by itself, or is told by `arping -U` in a post-start hook.
//
// All names derive from the xid and all marks are constants, so [Down] needs no
// memory: it asks the kernel for routes and proxies that bear protocol 118. The links
// themselves end with the guest's namespace: to delete one here would wait 10 to 30 ms
// for the kernel.
//
// Decided 2026-11: vishvananda/netlink and google/nftables, which cost the command
// 1.4 MB and nothing at its start.
package private
