package firewall

import (
	"strings"
	"testing"

	"github.com/google/nftables"
)

// TestObstacles makes the chains that others make and sees them found, with the
// command that lets guests through.
func TestObstacles(t *testing.T) {
	newWorld(t)
	must(t, Up(Guest{XID: 8, Link: "vs8"})) // our own table does not count
	if got, err := Obstacles(); err != nil || len(got) > 0 {
		t.Errorf("on a clean host: %q, %v", got, err)
	}
	drop, accept := nftables.ChainPolicyDrop, nftables.ChainPolicyAccept
	for _, c := range []struct {
		family      nftables.TableFamily
		table, name string
		policy      *nftables.ChainPolicy
		more        string // another chain of the table
		want        string
	}{
		{nftables.TableFamilyIPv4, "filter", "FORWARD", &drop, "DOCKER-USER", "iptables -I DOCKER-USER -i vs+ -j ACCEPT"},
		{nftables.TableFamilyIPv6, "filter", "FORWARD", &drop, "ufw6-before-forward", "ufw default allow routed"},
		{nftables.TableFamilyIPv6, "filter", "FORWARD", &drop, "", "ip6tables -I FORWARD -o vs+ -j ACCEPT"},
		{nftables.TableFamilyINet, "mine", "fwd", &drop, "", `nft insert rule inet mine fwd iifname "vs*" accept`},
		{nftables.TableFamilyINet, "firewalld", "filter_FORWARD", &accept, "", "firewall-cmd"},
		{nftables.TableFamilyINet, "other", "forward", &accept, "", ""},
	} {
		conn, err := nftables.New()
		must(t, err)
		table := conn.AddTable(&nftables.Table{Family: c.family, Name: c.table})
		conn.AddChain(&nftables.Chain{
			Table: table, Name: c.name, Type: nftables.ChainTypeFilter, Policy: c.policy,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		if c.more != "" {
			conn.AddChain(&nftables.Chain{Table: table, Name: c.more})
		}
		must(t, conn.Flush())
		got, err := Obstacles()
		must(t, err)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0].Allow, c.want) || !strings.HasSuffix(got[0].Chain, c.table+" "+c.name)) {
			t.Errorf("%s %s: %q, want %s", c.table, c.name, got, c.want)
		}
		conn.DelTable(table)
		must(t, conn.Flush())
	}
}
