package firewall

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// Obstacle is a chain of other software that may drop what is forwarded to guests.
type Obstacle struct {
	Chain string // family, table and name, as nft(8) writes them
	Allow string // the commands that let guests through
}

// Obstacles gives the base chains for forwarded packets whose policy is drop, and
// those of firewalld, which refuse by rules. Other rules are not looked into. Chains
// of iptables are seen when they are kept in nf_tables, as Debian does.
func Obstacles() ([]Obstacle, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("nftables: chains: %w", err)
	}
	var out []Obstacle
	for _, c := range chains {
		if c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward || c.Table.Name == TableName {
			continue
		}
		drops := c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
		if !drops && c.Table.Name != "firewalld" {
			continue
		}
		name := fmt.Sprintf("%s %s %s", familyName(c.Table.Family), c.Table.Name, c.Name)
		out = append(out, Obstacle{Chain: name, Allow: allow(chains, c)})
	}
	return out, nil
}

// allow says how to let guests through a chain, by whose it is.
func allow(all []*nftables.Chain, c *nftables.Chain) string {
	has := func(name string) bool {
		return slices.ContainsFunc(all, func(o *nftables.Chain) bool {
			return o.Name == name && o.Table.Name == c.Table.Name && o.Table.Family == c.Table.Family
		})
	}
	iptables := "iptables"
	if c.Table.Family == nftables.TableFamilyIPv6 {
		iptables = "ip6tables"
	}
	both := func(chain string) string {
		return fmt.Sprintf("%s -I %s -i vs+ -j ACCEPT; %[1]s -I %[2]s -o vs+ -j ACCEPT", iptables, chain)
	}
	switch {
	case c.Table.Name == "firewalld":
		return "firewall-cmd --zone=trusted --add-interface=vs+"
	case has("DOCKER-USER"):
		return both("DOCKER-USER")
	case has("ufw-before-forward"), has("ufw6-before-forward"):
		return "ufw default allow routed"
	case c.Name == "FORWARD" && (c.Table.Family == nftables.TableFamilyIPv4 || c.Table.Family == nftables.TableFamilyIPv6):
		return both("FORWARD")
	}
	return fmt.Sprintf(`nft insert rule %s %s %s iifname "vs*" accept; nft insert rule %[1]s %[2]s %[3]s oifname "vs*" accept`,
		familyName(c.Table.Family), c.Table.Name, c.Name)
}

// familyName is what nft(8) calls a family.
func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyBridge:
		return "bridge"
	}
	return fmt.Sprint(byte(f))
}
