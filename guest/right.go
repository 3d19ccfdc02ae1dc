package guest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Honour is what becomes of a right's name on a stock kernel.
type Honour string

// The ways to honour a name.
const (
	Switched  Honour = "switch"    // it can be given and taken away
	Always    Honour = "always"    // it is so for every guest, and cannot be taken away
	Passed    Honour = "passed"    // it is taken and means nothing here
	Elsewhere Honour = "elsewhere" // another key of the spec says it
	Refused   Honour = "refused"   // no mechanism of the kernel gives it
)

// Right is a name of Linux-VServer's for something that a guest may do, or that holds
// for it, and what a stock kernel has in its place. The tables of them make
// doc/rights.md, the checks of a spec and the meaning of its words.
type Right struct {
	Name    string
	Aliases []string // older names
	Bit     int      // in Linux-VServer's mask; -1 for a word that stands for others
	Honour  Honour
	Default bool   // a guest with a user namespace of its own has it
	By      string // what holds it on a stock kernel, or why nothing can
	Instead string // what to write or do in its place
}

// rightsOf is one of the three tables, with what its words look like.
type rightsOf struct {
	what     string // as errors say it
	prefixes []string
	table    []Right
}

func ccaps() rightsOf { return rightsOf{"context capability", []string{"vxc_"}, Ccaps()} }
func flags() rightsOf { return rightsOf{"flag", []string{"vxf_", "info_"}, Flags()} }

// find gives the entry of a name, without marks of negation, in any case.
func (r rightsOf) find(word string) (Right, error) {
	name := strings.ToLower(word)
	for _, p := range r.prefixes {
		name = strings.TrimPrefix(name, p)
	}
	digits, numbered := strings.CutPrefix(name, "^")
	bit, err := strconv.Atoi(digits)
	numbered = numbered && err == nil && bit >= 0
	for _, e := range r.table {
		if e.Name == name || slices.Contains(e.Aliases, name) || numbered && e.Bit == bit {
			return e, nil
		}
	}
	return Right{}, unknown(r.what, word, name, rightNames(r.table), "doc/rights.md lists them")
}

// unknown is the error for a word that its list does not have: with the list that has it, the
// nearest name, or what is said in place of that.
func unknown(what, word, name string, names []string, otherwise string) error {
	lists := []struct {
		key   string
		names []string
	}{
		{"view.flags", viewFlagNames()}, {"network.flags", NetFlagNames()}, {"network.ncaps", NetCapNames()},
		{"rights.bcaps", Caps()}, {"rights.ccaps", rightNames(Ccaps())}, {"rights.flags", rightNames(Flags())},
	}
	near := Nearest(name, names)
	for _, l := range lists {
		if slices.Contains(l.names, name) {
			near = l.key + ": [" + name + "]"
			break
		}
	}
	for _, l := range lists {
		if n := Nearest(name, l.names); near == "" && n != "" {
			near = l.key + ": [" + n + "]"
		}
	}
	if near != "" {
		otherwise = "did you mean " + near + "?"
	}
	return fmt.Errorf("%s %q: no such name; %s: %w", what, word, otherwise, ErrInvalid)
}

// rightNames are the names in a table, older ones too.
func rightNames(table []Right) (names []string) {
	for _, e := range table {
		names = append(append(names, e.Name), e.Aliases...)
	}
	return names
}

// change gives the set of bits changed by the words in their order.
func (r rightsOf) change(set uint64, words []string) (uint64, error) {
	for _, word := range words {
		bare, negated := negation(word)
		switch strings.ToLower(bare) {
		case "none":
			negated = !negated
			fallthrough
		case "all", "any":
			set = 0
			for _, e := range r.table {
				if e.Honour == Always || e.Honour == Switched && !negated {
					set |= 1 << e.Bit
				}
			}
			continue
		}
		e, err := r.find(bare)
		if err == nil {
			err = r.allowed(e, negated)
		}
		switch {
		case err != nil:
			return 0, err
		case e.Bit < 0 || e.Honour == Passed:
		case !negated && (e.Honour == Switched || e.Honour == Always):
			set |= 1 << e.Bit
		case negated && e.Honour == Switched:
			set &^= 1 << e.Bit
		}
	}
	return set, nil
}

// negation gives a word without the marks before it, and whether they negate it.
func negation(word string) (bare string, negated bool) {
	bare = strings.TrimLeft(word, "!~")
	return bare, (len(word)-len(bare))%2 == 1
}

// allowed tells what is wrong with asking for a right, or for its absence.
func (r rightsOf) allowed(e Right, negated bool) error {
	switch {
	case e.Honour == Elsewhere:
		return unsupported(fmt.Sprintf("%s %s: is said by %s", r.what, e.Name, e.Instead))
	case e.Honour == Refused && !negated:
		return unsupported(fmt.Sprintf("%s %s: %s; instead: %s", r.what, e.Name, e.By, e.Instead))
	case e.Honour == Always && negated:
		return unsupported(fmt.Sprintf("%s %s: cannot be taken away: %s", r.what, e.Name, e.By))
	}
	return nil
}

// unsupported is the text of what no stock kernel can do: a spec that asks for it is
// ErrInvalid, and the exit code that of ErrUnsupported.
type unsupported string

// Error gives the text.
func (u unsupported) Error() string { return string(u) }

// Unwrap gives both kinds of error that it is.
func (u unsupported) Unwrap() []error { return []error{ErrInvalid, ErrUnsupported} }

func defaults(table []Right) (set uint64) {
	for _, e := range table {
		if e.Bit >= 0 && (e.Honour == Always || e.Default && e.Honour == Switched) {
			set |= 1 << e.Bit
		}
	}
	return set
}

// RightSet is a set of rights of one table: bit n is the right with that bit.
type RightSet uint64

// Has tells whether the right with that bit is in the set.
func (s RightSet) Has(bit int) bool { return s>>bit&1 == 1 }

// CcapSet are the guest's context capabilities: the default ones changed by
// rights.ccaps. One without a user namespace of its own begins without those that such
// a namespace gives.
func (s *Spec) CcapSet() (RightSet, error) {
	set := defaults(Ccaps())
	if s.Userns == UsernsNone {
		set &^= 1<<SetUtsname | 1<<SecureMount | 1<<SecureRemount | 1<<Namespace
	}
	set, err := ccaps().change(set, s.Rights.Ccaps)
	return RightSet(set), err
}

// FlagSet are the guest's context flags: the default ones changed by rights.flags.
func (s *Spec) FlagSet() (RightSet, error) {
	set, err := flags().change(defaults(Flags()), s.Rights.Flags)
	return RightSet(set), err
}

// MakesNodes tells whether device nodes that the guest makes are made for it by
// vserverd: it has a user namespace, in which the kernel makes none, and rights.bcaps
// names mknod.
func (s *Spec) MakesNodes() bool { return s.Userns != UsernsNone && names(s.Rights.Bcaps, "mknod") }

// Asks tells whether calls of the guest's are left to vserverd for a narrow right: nodes,
// limits or quotas. The error is that of CcapSet.
func (s *Spec) Asks() (bool, error) {
	set, err := s.CcapSet()
	return s.MakesNodes() || set.Has(SetRlimit) || set.Has(QuotaCtl), err
}

// names tells whether a capability is given by its name, and not just by "all".
func names(words []string, name string) (given bool) {
	for _, w := range words {
		bare, negated := negation(w)
		n, err := ParseCap(bare)
		switch {
		case strings.EqualFold(bare, "none") && !negated, strings.EqualFold(bare, "all") && negated:
			given = false
		case err == nil && Caps()[n] == name:
			given = !negated
		}
	}
	return given
}

// rights checks what can be said of the guest's rights.
func (v *validator) vserverRights(s *Spec) {
	r := &s.Rights
	for i, w := range r.Ccaps {
		if _, err := ccaps().change(0, []string{w}); err != nil {
			v.fail(index("rights.ccaps", i), err)
			continue
		}
		v.ownUsers(s, index("rights.ccaps", i), w)
	}
	for i, w := range r.Flags {
		if _, err := flags().change(0, []string{w}); err != nil {
			v.fail(index("rights.flags", i), err)
		} else {
			v.filtered(s, index("rights.flags", i), w, flags())
		}
	}
	net := s.Network
	set(&net.Mode, NetShared)
	if s.MakesNodes() && r.Seccomp == SeccompNone {
		v.bad("rights.bcaps", "mknod: needs rights.seccomp: default, by which vserverd is asked for nodes")
	}
	if asks, _ := s.Asks(); asks && net.Hidden() {
		at := "rights.ccaps"
		if s.MakesNodes() {
			at = "rights.bcaps"
		}
		v.fail(at, unsupported("mknod, set_rlimit, quota_ctl: a filter has one listener, and hide_netif has it: take one of the two"))
	}
	each(v, "rights.devices", r.Devices, v.device)
	v.sysctls(r.Sysctls, &net)
}

// ownUsers refuses context capabilities that a guest's user namespace gives it, where
// there is none.
func (v *validator) ownUsers(s *Spec, at, word string) {
	bare, negated := negation(word)
	e, err := ccaps().find(bare)
	if err != nil {
		return // all, none
	}
	switch e.Bit {
	case SetUtsname, SecureMount, SecureRemount, Namespace, SetRlimit, QuotaCtl:
		if s.Userns == UsernsNone && !negated {
			v.bad(at, "%s: is a right over the guest's own namespaces; it needs userns: private", e.Name)
			return
		}
	}
	v.filtered(s, at, word, ccaps())
}

// filtered refuses words that the system call filter holds where there is none.
func (v *validator) filtered(s *Spec, at, word string, r rightsOf) {
	bare, negated := negation(word)
	e, err := r.find(bare)
	if err != nil || e.Honour != Switched || s.Rights.Seccomp != SeccompNone || e.Default != negated {
		return
	}
	if strings.HasPrefix(e.By, "system call filter") {
		v.bad(at, "%s: needs rights.seccomp: default, which holds it", e.Name)
	}
}

// FindFlag gives the context flag of that name, alias or "^BIT", in any case.
func FindFlag(word string) (Right, error) { return flags().find(word) }

// FindCcap gives the context capability of that name, alias or "^BIT", in any case.
func FindCcap(word string) (Right, error) { return ccaps().find(word) }

// BareWord is a word of a list of rights without its marks and prefixes, in small letters.
func BareWord(word string) string {
	w := strings.ToLower(strings.TrimLeft(word, "!~"))
	for _, p := range []string{"vxf_", "vxc_", "nxf_", "nxc_", "cap_", "info_"} {
		w = strings.TrimPrefix(w, p)
	}
	return w
}

// RightKey is the key of a spec that says what Linux-VServer said by a word of a table;
// key is that of the table itself.
func RightKey(table []Right, word, key string) string {
	i := slices.IndexFunc(table, func(r Right) bool { return r.Name == BareWord(word) || slices.Contains(r.Aliases, BareWord(word)) })
	if i < 0 || table[i].Honour != Elsewhere {
		return key
	}
	for _, other := range []string{"view.flags", "network.flags", "network.ncaps"} {
		if strings.HasPrefix(table[i].Instead, other) {
			return other
		}
	}
	return key
}
