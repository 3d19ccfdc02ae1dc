package cli

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

func newNet(t *tool) *cobra.Command {
	var o host.NetOptions
	c := command("net NAME add|del|list [ADDRESS...]", `
Changes or lists the addresses of a guest whose network is shared. What a running
guest does next is under the new list; there is no moment between the old one and
the new. An address is written as in network.addresses: ADDRESS/LENGTH, and behind
it dev DEV, nodev, broadcast ADDRESS, scope SCOPE, name NAME. Without --save the
change ends with the guest.`, `
vserver web1 net add 192.0.2.11/24 dev eth0
vserver web1 net del 192.0.2.11 --kill --save
vserver net web1 list --json`,
		func(_ context.Context, args []string) error { return t.net(args, o) })
	c.Flags().BoolVar(&o.Save, "save", false, "change the guest's spec as well")
	c.Flags().BoolVar(&o.Kill, "kill", false, "close the connections on an address that is deleted")
	return c
}

// net changes or lists addresses.
func (t *tool) net(args []string, o host.NetOptions) error {
	action, args := t.action(args, []string{"list", "add", "del", "delete"})
	n, words, err := t.one(args)
	if err != nil {
		return err
	}
	switch {
	case action == "list" && len(words) == 0:
		return t.about(n, t.netList(n))
	case action == "add" && len(words) > 0:
		a, err := guest.ParseAddress(strings.Join(words, " "))
		if err != nil {
			return usage{err.Error()}
		}
		return t.about(n, t.host.NetAdd(n, a, o))
	case (action == "del" || action == "delete") && len(words) == 1:
		return t.netDel(n, words[0], o)
	}
	return usageHint("vserver net --help", "want add ADDRESS/LENGTH, del ADDRESS, or list")
}

// netDel takes an address, which may be said with the prefix that it has.
func (t *tool) netDel(n guest.Name, word string, o host.NetOptions) error {
	bare, length, with := strings.Cut(word, "/")
	a, err := netip.ParseAddr(bare)
	if err != nil {
		return usagef("%q: want an address", word)
	}
	if !with {
		return t.about(n, t.host.NetDel(n, a, o))
	}
	list, err := t.host.NetAddresses(n)
	if err != nil {
		return t.about(n, err)
	}
	for _, have := range list {
		if have.Addr() == a && strconv.Itoa(have.Prefix.Bits()) != length {
			return t.about(n, fmt.Errorf("%s: the guest has %s: %w", word, have.Prefix, guest.ErrInvalid))
		}
	}
	return t.about(n, t.host.NetDel(n, a, o))
}

// address is a line of net list, for --json.
type address struct {
	Address   string `json:"address"` // with its prefix length
	Dev       string `json:"dev,omitempty"`
	NoDev     bool   `json:"nodev,omitempty"`
	Peer      string `json:"peer,omitempty"`
	Broadcast string `json:"broadcast,omitempty"`
	Scope     string `json:"scope,omitempty"`
	Name      string `json:"name,omitempty"`
}

func (t *tool) netList(n guest.Name) error {
	list, err := t.host.NetAddresses(n)
	if err != nil {
		return err
	}
	if t.json {
		out := make([]address, len(list))
		for i, a := range list {
			out[i] = address{a.Prefix.String(), a.Dev, a.NoDev, a.Peer, a.Broadcast, a.Scope, a.Name}
		}
		return writeJSON(t.out, out)
	}
	for _, a := range list {
		fmt.Fprintln(t.out, a)
	}
	return nil
}
