package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"vserver/kernel/nft"
	"vserver/kernel/ns"
)

// Prune removes what stays in the table when its users go, the shield, the hiding of
// pools, the source of pings, the ports of parked sockets and the way to loopback, and with it the table,
// unless some guest has something there, an address of the host's or a link. It succeeds
// when there is nothing.
func Prune() error {
	shielded, err := nft.Exists(table(), sourceChain)
	if err != nil {
		return unable(err)
	}
	pooled, err := nft.Exists(table(), masqueradeChain)
	if err != nil {
		return unable(err)
	}
	pinging, err := nft.Exists(table(), pingChain)
	if err != nil {
		return unable(err)
	}
	parking, err := nft.Exists(table(), parkedChain)
	if err != nil {
		return unable(err)
	}
	looping, err := nft.Exists(table(), loopedChain)
	if err != nil {
		return unable(err)
	}
	connecting, err := nft.Exists(table(), connectedChain)
	if err != nil || !shielded && !pooled && !pinging && !parking && !looping {
		return unable(err)
	}
	pools, err := prune()
	if err != nil {
		return err
	}
	// A guest that came meanwhile found everything there, and asked for no more.
	links, addresses, err := users()
	if links && shielded {
		err = errors.Join(err, Up(Guest{Link: "vs"}))
	}
	if addresses && pinging {
		err = errors.Join(err, Ping(netip.Addr{}, netip.Addr{}))
	}
	if addresses && parking {
		err = errors.Join(err, Parked(connecting))
	}
	if addresses && looping {
		err = errors.Join(err, Looped())
	}
	for _, pool := range pools {
		if addresses {
			err = errors.Join(err, Masquerade(pool))
		}
	}
	return err
}

// prune removes the table if it has no user, and tells which networks it hid.
func prune() (pools []netip.Prefix, err error) {
	unlock, err := ns.LockNet()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if links, addresses, err := users(); err != nil || links || addresses {
		return nil, err
	}
	conn, err := nft.Open()
	if err != nil {
		return nil, unable(err)
	}
	defer func() { go conn.Close() }() // as in change
	chains, err := conn.Chains(table())
	if err != nil || len(chains) == 0 || slices.ContainsFunc(chains, func(c string) bool { return strings.HasPrefix(c, "guest-") }) {
		return nil, unable(err)
	}
	for _, c := range chains {
		if pool, ok := parsePoolChain(c); ok {
			pools = append(pools, pool)
		}
	}
	b := nft.NewBatch(table())
	b.DelTable()
	return pools, unable(conn.Commit(b))
}

// users tells whether any guest has a link here, or an address of the host's.
func users() (links, addresses bool, err error) {
	all, err := sharing()
	if err != nil {
		return false, false, err
	}
	list, err := dump(netlink.LinkList)
	if err != nil {
		return false, false, fmt.Errorf("links: %w", err)
	}
	return slices.ContainsFunc(list, func(l netlink.Link) bool { return l.Attrs().Group == linkGroup }), len(all) > 0, nil
}
