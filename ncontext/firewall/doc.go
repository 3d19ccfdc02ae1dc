// Package firewall is the one table of the host's packet filter that is ours: inet
// vserver. It holds what concerns packets of guests outside their reach. Each part is
// there while somebody uses it, and the table while there is a part; source,
// ping, parked and masquerade stay for the next guest until there is none at all ([Prune]),
// since to take anything out of the table costs milliseconds:
//
//	source       drops packets out of guests' routed links that bear a source address
//	             which the host would not reach by that link
//	input,       rules of guests (network.firewall). Verdict maps lead to the chains of
//	output,      the guest: by its addresses (in4, out4, in6, out6) where these are the
//	forward      host's, else by its link (in-link, out-link)
//	class        gives packets the class of their guest, by source (class4, class6), for
//	             package shape
//	police       drops what comes faster than ingress.rate (police4, police6), of guests
//	             whose addresses are the host's
//	dnat,        lead published ports to guests (publish, publish4, publish6), but not
//	dnat-local   those of addresses that are a guest's (own4, own6); hairpin lets guests
//	             use published ports of guests, the host those at its 127.0.0.1, and all
//	             those of guests that answer by another router (away4, away6) or past the
//	             host (behind4, behind6); loopback drops what guests' links say to
//	             127.0.0.0/8
//	masquerade   hides networks of ours behind the host (pool4, pool6)
//	ping, ping6  put the source into pings of guests of the host's network (pingers6)
//	parked       puts the port into datagrams of theirs that come from a hidden one
//
// For guest 8 there are the chains guest-8, empty, which says that the guest has
// something here, and as needed in-8, out-8, police-8 and publish-8. Maps are looked
// up by one hash, so that a packet pays the same for one guest and for 500. All of a
// guest is found by these names and undone in one batch; each change is one batch as
// well, and a change of rules leaves no moment without any.
//
// A packet that no rule denies goes on to the other tables of the host, which may
// drop it; nothing here overrules them, and nothing of theirs is read or changed.
//
// Rules remember connections: "deny in" leaves answers alone. That takes connection
// tracking, which the kernel then does for all packets of the host (about 300 bytes
// for each connection, and some hundred nanoseconds for each packet); without a deny
// rule of any guest, a published port or a pool that is masqueraded it is not
// switched on. Neighbour discovery of IPv6, and what a guest in the host's network
// sends itself, is never denied. What a guest may not send is refused, so that its
// programs know at once; what it may not be sent is dropped.
//
// Guests at a bridge or beside a link of the host's have a table of this name in their own
// namespace ([Within]): rules and rates that the host's packet filter would not see.
//
// Two tools at once keep out of each other's way by [ns.LockNet], which needs no place
// on disk and holds for all installations.
//
//house:allow the parts of one table, which share its words
package firewall
