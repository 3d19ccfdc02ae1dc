package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
	"vserver/ncontext/lone"
	"vserver/store"
)

func newNaddress(t *tool) *cobra.Command {
	var f contextFlags
	c := command("naddress --add|--remove|--set [--nid N] [--ip ADDRESS]... [-- COMMAND [ARG...]]", `
Changes the addresses of a network context, or of a guest that runs, and runs a
command if there is one. Without --nid it is the context that we are in.`, `
vserver naddress --add --nid 100 --ip 192.0.2.11
vserver naddress --set --nid 100 --ip 192.0.2.11 --ip 2001:db8::11`,
		func(_ context.Context, args []string) error { return t.inContext(t.naddress(f, args)) })
	fl := f.base(c)
	fl.BoolVar(&f.add, "add", false, "add the addresses")
	fl.BoolVar(&f.remove, "remove", false, "take the addresses, without --ip all")
	fl.BoolVar(&f.setAll, "set", false, "these addresses and no others")
	fl.StringArrayVar(&f.ips, "ip", nil, "`ADDRESS[/LENGTH]` of this host, or the name of a link for its address (repeatable)")
	fl.StringVar(&f.lback, "lback", "", "`ADDRESS` that is its 127.0.0.1")
	fl.StringVar(&f.bcast, "bcast", "", "let it send broadcasts; the `ADDRESS` is taken for Linux-VServer's sake")
	fl.StringArrayVar(&f.masks, "mask", nil, "all addresses of `NETWORK/LENGTH`, or /MASK, that this host has (repeatable)")
	fl.StringArrayVar(&f.ranges, "range", nil, "all of `FIRST-LAST[/LENGTH]` that this host has (repeatable)")
	return c
}

func newNattribute(t *tool) *cobra.Command {
	var f contextFlags
	c := command("nattribute --set|--get [--nid N] [--ncap CAPABILITY]... [--flag FLAG]... [-- COMMAND]", `
Shows or changes the flags and capabilities of a network context, and runs a command
if there is one. Without --nid it is the context that we are in. A guest's are shown
here, and changed by network.flags and network.ncaps of its spec.`, `
vserver nattribute --get --nid 100
vserver nattribute --set --nid 100 --ncap multicast --flag '!hide_lback'`,
		func(_ context.Context, args []string) error { return t.inContext(t.nattribute(f, args)) })
	fl := f.base(c)
	fl.BoolVar(&f.setOne, "set", false, "change them")
	fl.BoolVar(&f.get, "get", false, "show them")
	f.what(fl)
	return c
}

// subjectOf finds whom --nid means: a context, or else a guest.
func (t *tool) subjectOf(f contextFlags) (*lone.Context, guest.Name, error) {
	id, n := guest.XID(0), guest.Name("")
	if f.nid == "" {
		if id, n = lone.Own(t.host.Dirs); id == 0 && n == "" {
			return nil, "", usageHint("vserver "+t.verb+" --help", "which context? we are in none; want --nid")
		}
	} else if x, err := strconv.ParseUint(f.nid, 10, 16); err == nil {
		id = guest.XID(x)
	}
	if id != 0 {
		x, err := lone.Open(t.host.Dirs, id)
		if err == nil || !errors.Is(err, guest.ErrNotFound) || f.nid == "" {
			return x, "", err
		}
	}
	if n == "" {
		var err error
		if n, err = t.name(f.nid); err != nil {
			return nil, "", err
		}
	}
	if _, err := t.host.Status(n); err != nil {
		return nil, "", fmt.Errorf("network context %s: %w", f.nid, guest.NoSuch("context"))
	}
	return nil, n, nil
}

func (t *tool) naddress(f contextFlags, args []string) error {
	addresses := hostAddresses
	if f.remove {
		addresses = anyAddresses
	}
	list, err := addresses(f.ips)
	if err != nil {
		return err
	}
	for _, r := range f.ranges {
		more, err := span4(r)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	for _, m := range f.masks {
		more, err := within(m)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	x, n, err := t.subjectOf(f)
	if err != nil {
		return err
	}
	if x != nil {
		defer x.Close()
		err = x.Change(func(c *lone.Config) error { return t.change(f, list, c) })
	} else {
		err = t.changeGuest(f, n, list)
	}
	if err != nil || len(args) == 0 {
		return err
	}
	return execute(args)
}

// anyAddresses is hostAddresses for what a context has, whether the host has it yet or not.
func anyAddresses(words []string) (out []netip.Prefix, err error) {
	for _, w := range words {
		text, _, _ := strings.Cut(w, "/")
		a, err := netip.ParseAddr(text)
		if err != nil {
			p, err := linkAddress(text)
			if err != nil {
				return nil, err
			}
			a = p.Addr()
		}
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out, nil
}

// change changes the addresses of a context, and says so.
func (t *tool) change(f contextFlags, list []netip.Prefix, c *lone.Config) (err error) {
	if f.lback != "" {
		if c.Lback, err = netip.ParseAddr(f.lback); err != nil {
			return usagef("--lback %q: want an address of 127.0.0.0/8", f.lback)
		}
	}
	if f.bcast != "" {
		c.Caps |= guest.Broadcast
	}
	had := c.Addresses
	switch {
	case f.add:
		c.Addresses = slices.Clone(had)
		for _, p := range list {
			if !in(had, p) {
				c.Addresses = append(c.Addresses, p)
			}
		}
	case f.setAll:
		c.Addresses = list
	case f.remove:
		c.Addresses = slices.DeleteFunc(slices.Clone(had), func(p netip.Prefix) bool { return len(list) == 0 || in(list, p) })
	default:
		return usageHint("vserver naddress --help", "want one of --add, --remove and --set")
	}
	for _, p := range had {
		if !in(c.Addresses, p) {
			t.tell(f, "Removing", p)
		}
	}
	for _, p := range c.Addresses {
		if !in(had, p) {
			t.tell(f, "Adding", p)
		}
	}
	return nil
}

// in tells whether an address is in a list, with whatever length.
func in(l []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(l, func(q netip.Prefix) bool { return q.Addr() == p.Addr() })
}

func (t *tool) tell(f contextFlags, what string, p netip.Prefix) {
	if !f.silent {
		fmt.Fprintln(t.out, what, p.Addr())
	}
}

// changeGuest changes the addresses of a guest that runs.
func (t *tool) changeGuest(f contextFlags, n guest.Name, list []netip.Prefix) error {
	had, err := t.host.NetAddresses(n)
	if err != nil {
		return err
	}
	old := &lone.Config{}
	for _, a := range had {
		old.Addresses = append(old.Addresses, a.Prefix)
	}
	now := &lone.Config{Addresses: old.Addresses}
	if err := t.change(f, list, now); err != nil {
		return err
	}
	var errs []error
	for _, p := range now.Addresses {
		if !in(old.Addresses, p) {
			errs = append(errs, t.host.NetAdd(n, guest.Address{Prefix: p, NoDev: true}, host.NetOptions{}))
		}
	}
	for _, p := range old.Addresses {
		if !in(now.Addresses, p) {
			errs = append(errs, t.host.NetDel(n, p.Addr(), host.NetOptions{}))
		}
	}
	return errors.Join(errs...)
}

// maxRange bounds the addresses of a range.
const maxRange = 1024

// span4 gives the addresses of FIRST-LAST[/LENGTH] that this host has.
func span4(word string) (out []netip.Prefix, err error) {
	bounds, _, _ := strings.Cut(word, "/")
	from, to, ok := strings.Cut(bounds, "-")
	first, err1 := netip.ParseAddr(from)
	last, err2 := netip.ParseAddr(to)
	if !ok || err1 != nil || err2 != nil || last.Less(first) {
		return nil, usagef("--range %q: want FIRST-LAST", word)
	}
	for a, n := first, 0; a.IsValid() && !last.Less(a); a, n = a.Next(), n+1 {
		if n == maxRange {
			return nil, usagef("--range %q: more than %d addresses", word, maxRange)
		}
		if p, err := known(a); err == nil {
			out = append(out, p)
		}
	}
	return out, nil
}

// within gives the addresses of NETWORK/LENGTH or NETWORK/MASK that this host has.
func within(word string) (out []netip.Prefix, err error) {
	text, length, _ := strings.Cut(word, "/")
	a, err := netip.ParseAddr(text)
	bits := 0
	if err == nil {
		bits, err = prefixLength(a, length)
	}
	if err != nil {
		return nil, usagef("--mask %q: want NETWORK/LENGTH or NETWORK/MASK", word)
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		if p, err := netip.ParsePrefix(x.String()); err == nil && netip.PrefixFrom(a, bits).Contains(p.Addr()) {
			out = append(out, p)
		}
	}
	return out, nil
}

func (t *tool) nattribute(f contextFlags, args []string) error {
	if f.get == f.setOne {
		return usageHint("vserver nattribute --help", "want --set or --get")
	}
	x, n, err := t.subjectOf(f)
	if err != nil {
		return err
	}
	if x == nil {
		return t.guestAttributes(f, n)
	}
	defer x.Close()
	if f.get {
		c, err := x.Config()
		if err != nil {
			return err
		}
		t.attributes(c.Flags, c.Caps)
	} else if err := x.Change(func(c *lone.Config) (err error) {
		c.Flags, c.Caps, err = f.sets(c.Flags, c.Caps)
		return err
	}); err != nil {
		return err
	}
	if len(args) == 0 {
		return nil
	}
	return execute(args)
}

func (t *tool) guestAttributes(f contextFlags, n guest.Name) error {
	spec, err := t.host.Load(n)
	if err != nil {
		return err
	}
	if f.setOne {
		return t.setAttributes(f, spec.Network, n)
	}
	flags, err1 := spec.Network.NetFlags()
	caps, err2 := spec.Network.NetCaps()
	t.attributes(flags, caps)
	return errors.Join(err1, err2)
}

// setAttributes writes flags and capabilities into a guest's spec.
func (t *tool) setAttributes(f contextFlags, net guest.Network, n guest.Name) error {
	if f.secure {
		f.ncap = append(f.ncap, "raw_icmp")
	}
	if path := t.host.Dirs.Spec(n); store.Old(path) {
		return t.annex(path, n, map[string][]string{"nflags": f.flag, "ncapabilities": f.ncap})
	}
	var changes []string
	for _, l := range []struct {
		key        string
		had, words []string
	}{{"network.flags", net.Flags, f.flag}, {"network.ncaps", net.NCaps, f.ncap}} {
		var now []string
		for _, w := range l.had {
			now = append(now, strconv.Quote(w))
		}
		for _, w := range l.words {
			now = slices.DeleteFunc(now, func(old string) bool { return guest.BareWord(strings.Trim(old, `"`)) == guest.BareWord(w) })
			now = append(now, strconv.Quote(strings.Replace(w, "~", "!", 1)))
		}
		if len(l.words) > 0 {
			changes = append(changes, l.key+"=["+strings.Join(now, ", ")+"]")
		}
	}
	if len(changes) == 0 {
		return usageHint("vserver nattribute --help", "--set: want --flag, --ncap or --secure")
	}
	done, err := t.host.Set(n, changes)
	if err == nil && len(done.Restart) > 0 {
		fmt.Fprintf(t.err, "%s: %s: %s: from the next start on\n", t.program, n, strings.Join(done.Restart, ", "))
	}
	return err
}

// annex writes words into lists of a guest that is a directory of old, whose spec would be at
// path.
func (t *tool) annex(path string, n guest.Name, lists map[string][]string) error {
	_, err1 := guest.NetFlags(0).Change(lists["nflags"])
	_, err2 := guest.NetCaps(0).Change(lists["ncapabilities"])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(lists)) {
		if len(lists[key]) == 0 {
			continue
		}
		if err := store.Annex(path, key, lists[key], false); err != nil {
			return err
		}
		fmt.Fprintf(t.err, "%s: %s: %s: from the next start on\n", t.program, n, key)
	}
	return nil
}

func (t *tool) attributes(flags guest.NetFlags, caps guest.NetCaps) {
	fmt.Fprintf(t.out, "ncapabilities:\n%s\nnflags:\n%s\n", strings.Join(caps.Names(), ","), strings.Join(flags.Names(), ","))
}
