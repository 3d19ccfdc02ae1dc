package private

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"vserver/fault"
	"vserver/guest"
)

// tableName is our table of the host's packet filter.
const tableName = "vserver"

// shield sees to it that packets of guests with false source addresses are dropped.
// Strict reverse path filtering, which is set on each link as well, does not do: it
// knows no IPv6, and systemd's udev loosens it on every new link.
func (u *up) shield() error {
	err := shield()
	if err == nil || errors.Is(err, syscall.EPERM) {
		return err
	}
	return fault.Hint(fmt.Errorf("%w: %w", err, guest.ErrUnsupported),
		"guests could send under false addresses; the kernel needs nf_tables and nft_fib_inet (CONFIG_NFT_FIB_INET)")
}

// shield makes, unless it is there:
//
//	table inet vserver {
//	  chain source {
//	    type filter hook prerouting priority raw;
//	    iifgroup 0x7673 fib saddr . iif oif missing counter drop
//	  }
//	}
//
// A source is true when the host would send to it by the link it came from.
func shield() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	const chainName = "source"
	if _, err := conn.ListChain(table, chainName); err == nil {
		return nil // all of it is made at once
	}
	table = conn.AddTable(table)
	chain := conn.AddChain(&nftables.Chain{
		Table: table, Name: chainName, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
	})
	// Two starts at once may both get here: the chain is emptied first, so that one
	// rule stands whoever is last.
	conn.FlushChain(chain)
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(fromGroup(group),
		&expr.Fib{Register: 1, ResultOIF: true, FlagSADDR: true, FlagIIF: true, FlagPRESENT: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0}},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	)})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("table inet %s: %w", tableName, err)
	}
	return nil
}

// fromGroup matches what comes from the links of a group.
func fromGroup(group uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFGROUP, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(group)},
	}
}
