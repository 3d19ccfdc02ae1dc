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
// The host's end gets the next hop as an address of its own when the host has none to
// speak to the guest from. Published ports and the guest's rules are package firewall's.
//
// With link bridge the host's end is a port of a bridge, in group 0x7674, for which
// package port has rules. A bridge that is not there is made, in group 0x7673 when it has
// the guest's gateway as an address, else 0x7675; by that it is known again, and removed
// with its last port. The rules of a port are the first thing of a guest that is made and
// the last that goes: by them [Down] knows that there may be more. With link macvlan there
// is nothing on the host but the guest's link itself. Both have neighbours: the hardware
// address is made of the host's machine id and the xid, and told when the link comes up
// (arp_notify, ndisc_notify).
//
// A start has no time for a packet socket, whose end the kernel lets wait for 5 to 10 ms.
// What needs one is left to [Attend], by vserverd: telling the neighbours of a routed
// guest, and leases.
//
// All names derive from the xid and all marks are constants, so [Down] needs no
// memory: it asks the kernel for routes and proxies that bear protocol 118. The links
// themselves end with the guest's namespace: to delete one here would wait 10 to 30 ms
// for the kernel. What several guests share is changed under a lock.
//
// Decided 2026-11: vishvananda/netlink and google/nftables, which cost the command
// 1.4 MB and nothing at its start.
//
//house:allow what makes a link, changes it and mends it are the same few parts
package private
