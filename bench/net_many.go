package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"vserver/ncontext/shared"
)

// addresses times starts of guests of mode shared, with an address of the pool each, beside
// guests of mode host, for which nothing is done: whole lives first, then many that stay.
func (b *bench) addresses() (err error) {
	modes := []string{"host", "shared"}
	var rows []row
	for _, mode := range modes {
		if err := b.networked("true-"+mode, mode, "plain", "/bin/true"); err != nil {
			return err
		}
		rows = append(rows, row{"vserver start --wait, mode " + mode, command(b.vserver("start", "true-"+mode, "--wait")...)})
	}
	var names [2][]string
	for i := range b.many {
		for m, mode := range modes {
			name := fmt.Sprint("sleeps-", mode, i)
			if err := b.networked(name, mode, "command", "/bin/sleep", "infinity"); err != nil {
				return err
			}
			names[m] = append(names[m], name)
		}
	}
	// One that stays keeps what all guests share: without it each start would be a first one.
	if err := b.must("start", names[1][0]); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("stop", "--all", "--kill")) }()
	interleave(os.Stdout, b.rounds, rows)
	var took [2][]time.Duration
	for i := 1; i < b.many; i++ {
		for m := range modes {
			m = (m + i) % 2 // who comes first has it harder
			d, err := life(b.vserver("start", names[m][i]))
			if err != nil {
				return err
			}
			took[m] = append(took[m], d)
		}
	}
	host, with := quantile(took[0], 0.5), quantile(took[1], 0.5)
	fmt.Printf("  %d of each started in turn: %s ms in mode host, %s ms in mode shared (medians): ratio %.2f\n",
		b.many-1, ms(host), ms(with), float64(with)/float64(host))
	fmt.Printf("  least %s ms and %s ms: network's share %s ms\n", ms(slices.Min(took[0])), ms(slices.Min(took[1])),
		ms(slices.Min(took[1])-slices.Min(took[0])))
	interleave(os.Stdout, b.rounds, rows)
	return nil
}

// networked makes a guest of a mode of the network.
func (b *bench) networked(name, mode, style string, init ...string) error {
	if err := b.guest(name, style, init...); err != nil {
		return err
	}
	return b.must("set", name, "network.mode="+mode)
}

// crowd gives so many others contexts, whose cgroups do not exist, and takes them away.
type crowd struct {
	set *shared.Set
	ids []uint64
}

func (c *crowd) come(n int) error {
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, 99, byte(i >> 8), byte(i)})
		id := uint64(1)<<40 + uint64(i)
		lback := netip.AddrFrom4([4]byte{127, 99 + byte(i>>8), byte(i), 1})
		if err := c.set.Put(id, &shared.Context{Addresses: []shared.Address{{Prefix: netip.PrefixFrom(a, 32)}}, Lback: lback}); err != nil {
			return err
		}
		c.ids = append(c.ids, id)
	}
	return nil
}

func (c *crowd) leave() error {
	var errs []error
	for _, id := range c.ids {
		errs = append(errs, c.set.Delete(id))
	}
	c.ids = nil
	return errors.Join(errs...)
}
