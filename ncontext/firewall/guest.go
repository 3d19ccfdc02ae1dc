package firewall

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/nft"
	"vserver/kernel/ns"
)

// Guest is what the table holds for one guest.
type Guest struct {
	XID guest.XID
	// Link is the host's end of the guest's routed link; "" when the guest's addresses
	// are the host's.
	Link      string
	Addresses []netip.Addr
	Rules     []guest.Rule
	Publish   []guest.Publish
	// Behind is the link of the host, not one of ours, that the guest is reached by: what
	// is led to it from there bears an address of the host, or the answer would go past.
	Behind string
	// Away are those of its addresses that answer by another router than the host: all
	// that is led to them bears an address of the host.
	Away    []netip.Addr
	Shaped  bool       // what it sends gets its class
	Ingress guest.Rate // what it may be sent; of those without a link
}

// Of gives what the spec of a guest asks for, with the addresses that it really has.
func Of(spec *guest.Spec, link string, addrs []netip.Addr) Guest {
	n := &spec.Network
	g := Guest{XID: spec.XID, Link: link, Addresses: addrs, Rules: n.Firewall, Publish: n.Publish, Shaped: n.Egress.Asked()}
	if link == "" {
		g.Ingress = n.Ingress.Rate
	}
	return g
}

// Asked tells whether the guest needs anything of its own in the table.
func (g Guest) Asked() bool {
	return len(g.Rules) > 0 || len(g.Publish) > 0 || g.Shaped || g.Ingress > 0
}

// Up makes the table say this of the guest, whatever it said before, in one step that
// no packet sees half of. For a guest that asks for nothing it makes the shield of its
// link, which all links share and which stays, or excepts its addresses from ports that
// are published; where that is done, or is not needed, it asks one question.
func Up(g Guest) error {
	if !g.Asked() {
		need, err := g.needs()
		if err != nil || !need {
			return unable(err)
		}
	}
	return change(g)
}

// needs tells whether there is something to do for a guest that asks for nothing.
func (g Guest) needs() (bool, error) {
	if g.Link != "" {
		there, err := nft.Exists(table(), sourceChain)
		return !there, err
	}
	if len(g.Addresses) == 0 {
		return false, nil
	}
	return nft.Exists(table(), dnatChain)
}

// Change is Up for a guest that had something before and may ask for nothing now.
func Change(g Guest) error { return change(g) }

// Down removes what the table has of a guest, and what of the table nobody uses any
// more, but for the shield. It succeeds when there is nothing.
func Down(xid guest.XID) error {
	if there, err := nft.Exists(table(), markChain(xid)); err != nil || !there {
		return unable(err)
	}
	return change(Guest{XID: xid})
}

// Holds tells whether the table has something of a guest. It has not when somebody has
// flushed all rules of the host.
func Holds(xid guest.XID) (bool, error) { return nft.Exists(table(), markChain(xid)) }

// Shaping tells whether packets of any guest are given classes.
func Shaping() (bool, error) { return nft.Exists(table(), classChain) }

func change(g Guest) error {
	unlock, err := ns.LockNet()
	if err != nil {
		return err
	}
	defer unlock()
	conn, err := nft.Open()
	if err != nil {
		return unable(err)
	}
	now, err := look(conn, g)
	if err == nil {
		err = g.taken(conn, now.sets)
	}
	if err == nil {
		err = now.change(conn)
	}
	if now != nil && now.deletes() {
		// The kernel lets who closes wait for the end of what was deleted: 6 to 12 ms for
		// which nobody here needs to wait.
		go conn.Close()
	} else {
		conn.Close()
	}
	if errors.Is(err, syscall.EEXIST) {
		err = fault.Hint(fmt.Errorf("an address is another guest's: %w: %w", guest.ErrBusy, err), "see `nft list table inet "+TableName+"`")
	}
	return unable(err)
}

// change does in one batch what is to be done.
func (s *state) change(conn *nft.Conn) error {
	b := nft.NewBatch(table())
	s.remove(b)
	if s.guest.Link != "" && !s.shielded {
		b.AddTable()
		shield(b)
	}
	own := s.guest.Link == "" && len(s.guest.Addresses) > 0 && slices.Contains(s.sets, "own4")
	if s.guest.Asked() || own {
		if err := s.put(b); err != nil {
			return err
		}
	}
	s.sweep(b)
	return conn.Commit(b)
}

func (s *state) deletes() bool { return len(s.mine) > 0 || len(s.chains) > 0 }

// unable says what a kernel lacks that cannot do it.
func unable(err error) error {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.EOPNOTSUPP) {
		return fault.Hint(fmt.Errorf("%w: %w", err, guest.ErrUnsupported),
			"the kernel needs nf_tables with inet, ct, nat, fib and reject (CONFIG_NFT_*); see `modprobe nft_ct`")
	}
	return err
}

// state is the table as it is, seen by one guest.
type state struct {
	guest    Guest
	shielded bool
	kept     bool                     // what belongs to guests without a mark is there
	chains   []string                 // the guest's
	mine     map[string][]nft.Element // by set: the guest's
	others   map[string]int           // by set: how many are others'
	sets     []string                 // all that there are
}

// look reads the table; the elements only of a guest that has been there.
func look(conn *nft.Conn, g Guest) (*state, error) {
	s := &state{guest: g, mine: map[string][]nft.Element{}, others: map[string]int{}}
	var err error
	if s.shielded, err = conn.HasChain(table(), sourceChain); err != nil {
		return nil, err
	}
	if s.sets, err = conn.Sets(table()); err != nil {
		return nil, err
	}
	for _, name := range []string{pingChain, parkedChain, loopedChain} {
		there, err := conn.HasChain(table(), name)
		if err != nil {
			return nil, err
		}
		s.kept = s.kept || there
	}
	if old, err := conn.HasChain(table(), markChain(g.XID)); err != nil || !old {
		return s, err
	}
	for _, f := range features() {
		for _, set := range f.sets() {
			if !slices.Contains(s.sets, set.Name) {
				continue
			}
			list, err := conn.Elements(table(), set.Name)
			if err != nil {
				return nil, err
			}
			for _, e := range list {
				if g.owns(e) {
					s.mine[set.Name] = append(s.mine[set.Name], e)
				} else {
					s.others[set.Name]++
				}
			}
		}
	}
	for _, name := range g.chains() {
		there, err := conn.HasChain(table(), name)
		if err != nil {
			return nil, err
		}
		if there {
			s.chains = append(s.chains, name)
		}
	}
	return s, nil
}

func (g Guest) chains() []string {
	return []string{inChain(g.XID), outChain(g.XID), policeChain(g.XID), publishChain(g.XID), markChain(g.XID)}
}

// owns tells whether an element is the guest's.
func (g Guest) owns(e nft.Element) bool {
	if e.Chain != "" {
		return slices.Contains(g.chains(), e.Chain)
	}
	return e.Data != nil && bytes.Equal(e.Data, classData(g.XID))
}

// remove takes everything of the guest away.
func (s *state) remove(b *nft.Batch) {
	for _, f := range features() {
		for _, set := range f.sets() {
			b.DelElements(set.Name, s.mine[set.Name]...)
		}
	}
	for _, name := range s.chains {
		b.DelChain(name)
	}
}

// put adds what the guest asks for, and the features that it is the first to use.
func (s *state) put(b *nft.Batch) error {
	g := s.guest
	b.AddTable()
	b.AddChain(markChain(g.XID), nil)
	want := map[string][]nft.Element{}
	use := func(set string, e ...nft.Element) { want[set] = append(want[set], e...) }
	g.filter(b, use)
	if g.Shaped {
		for _, a := range g.Addresses {
			use(byFamily("class", a), nft.Element{Key: a.AsSlice(), Data: classData(g.XID)})
		}
	}
	g.police(b, use)
	g.publish(b, use)
	for _, f := range features() {
		if !slices.ContainsFunc(f.users, func(set nft.Set) bool { return len(want[set.Name]) > 0 }) {
			continue
		}
		if !slices.Contains(s.sets, f.users[0].Name) {
			f.add(b)
			for _, set := range f.sets() {
				s.sets = append(s.sets, set.Name)
			}
			if f.name == publishName {
				if err := exceptOthers(b, g.XID, use); err != nil {
					return err
				}
			}
		}
		for _, set := range f.users {
			b.AddElements(set.Name, want[set.Name]...)
			s.others[set.Name] += len(want[set.Name])
		}
	}
	if g.Link == "" && slices.Contains(s.sets, "own4") {
		g.except(use)
	}
	for _, set := range publishFeature().more {
		b.AddElements(set.Name, want[set.Name]...)
	}
	return nil
}

// sweep removes the features that the guest was the last to use, and with the last
// feature the table.
func (s *state) sweep(b *nft.Batch) {
	if !s.deletes() {
		return
	}
	left := s.shielded || s.kept || s.guest.Link != "" || slices.Contains(s.sets, poolSet4)
	var gone []feature
	for _, f := range features() {
		switch used := slices.ContainsFunc(f.users, func(set nft.Set) bool { return s.others[set.Name] > 0 }); {
		case used:
			left = true
		case slices.Contains(s.sets, f.users[0].Name):
			gone = append(gone, f)
		}
	}
	if !left && !s.guest.Asked() {
		b.DelTable()
		return
	}
	for _, f := range gone {
		f.del(b)
	}
}

// byFamily is the name of the set for an address.
func byFamily(set string, a netip.Addr) string {
	if a.Is4() {
		return set + "4"
	}
	return set + "6"
}
