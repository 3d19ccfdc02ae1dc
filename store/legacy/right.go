package legacy

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"vserver/guest"
)

// rights reads flags and capabilities.
func (r *reader) rights() {
	for _, key := range []string{"flags", "cflags"} {
		r.words(key, func(f Finding, word string) { r.flag(f, word) })
	}
	r.words("bcapabilities", r.bcap)
	r.words("ccapabilities", r.ccap)
	r.words("capabilities", func(f Finding, _ string) {
		r.refuse(f, "was read by kernels before 2.6", "bcapabilities")
	})
	r.words("umask", r.unshares)
}

// words does something for each word of a list, a mask being those of its bits.
func (r *reader) words(key string, do func(f Finding, word string)) {
	text, ok := r.content(key)
	list := items(text)
	if ok && len(list) == 0 {
		r.tell(Finding{Key: key, Fate: Passed, Why: "is empty"})
	}
	for _, i := range list {
		f := Finding{Key: fmt.Sprintf("%s:%d", key, i.line), Value: i.text}
		for _, word := range strings.FieldsFunc(i.text, func(c rune) bool { return c == ',' || c == ' ' }) {
			bare := strings.TrimLeft(word, "!~")
			mask, err := strconv.ParseUint(bare, 0, 64)
			if err != nil {
				do(f, word)
				continue
			}
			for ; mask != 0; mask &= mask - 1 {
				do(f, fmt.Sprintf("%s^%d", word[:len(word)-len(bare)], bits.TrailingZeros64(mask)))
			}
			r.done[key] = true
		}
	}
}

// flag reads a context flag.
func (r *reader) flag(f Finding, word string) {
	bare := strings.TrimLeft(word, "!~")
	not := (len(word)-len(bare))%2 == 1
	right, err := guest.FindFlag(bare)
	if err != nil {
		r.wrong(f, plain(err))
		return
	}
	f.Value = word
	switch {
	case right.Name == "hide_netif" || right.Name == "secure":
		f.To = "network.flags"
		r.set(f, func(s *guest.Spec) { s.Network.Flags = add(s.Network.Flags, negated(not, "hide_netif")) })
	case strings.HasPrefix(right.Name, "virt_") && right.Honour == guest.Elsewhere:
		f.To = "view.flags"
		r.set(f, func(s *guest.Spec) { s.View.Flags = add(s.View.Flags, negated(not, right.Name)) })
	case right.Name == "sched_hard" || right.Name == "sched_prio":
		f.Fate, f.To, f.Why = Near, "limits.token_bucket", "what sched/ says: "+right.By
		r.tell(f)
	case right.Honour == guest.Switched:
		f.To, f.Why = "rights.flags", right.By
		r.set(f, func(s *guest.Spec) { s.Rights.Flags = add(s.Rights.Flags, negated(not, right.Name)) })
	default:
		r.given(f, right, not)
	}
}

func negated(not bool, word string) string {
	if not {
		return "!" + word
	}
	return word
}

// given tells of a right that cannot be switched.
func (r *reader) given(f Finding, right guest.Right, not bool) {
	f.Fate, f.Why = Passed, right.By
	switch {
	case right.Honour == guest.Refused && !not:
		f.Fate, f.Instead = Refused, right.Instead
	case right.Honour == guest.Always && not:
		f.Fate, f.Why = Refused, "cannot be taken away: "+right.By
	case right.Honour == guest.Elsewhere:
		f.Instead = right.Instead
	}
	r.tell(f)
}

// bcap reads a capability.
func (r *reader) bcap(f Finding, word string) {
	f.Value, f.To = word, "rights.bcaps"
	bare := strings.TrimLeft(word, "!~")
	if n, err := guest.ParseCap(bare); err == nil {
		if i := slices.IndexFunc(guest.Bcaps(), func(b guest.Right) bool { return b.Bit == n }); i >= 0 {
			f.Why = guest.Bcaps()[i].By
		}
		if strings.HasPrefix(f.Why, "nothing in a user namespace") {
			f.Fate = Near
		}
	}
	r.set(f, func(s *guest.Spec) { s.Rights.Bcaps = add(s.Rights.Bcaps, word) })
}

// ccap reads a context capability.
func (r *reader) ccap(f Finding, word string) {
	bare := strings.TrimLeft(word, "!~")
	not := (len(word)-len(bare))%2 == 1
	f.Value = word
	switch strings.ToLower(bare) {
	case "all", "any", "none":
		f.To = "rights.ccaps"
		r.set(f, func(s *guest.Spec) { s.Rights.Ccaps = add(s.Rights.Ccaps, word) })
		return
	}
	right, err := guest.FindCcap(bare)
	switch {
	case err != nil:
		r.wrong(f, plain(err))
	case right.Name == "raw_icmp":
		f.To = "network.ncaps"
		r.set(f, func(s *guest.Spec) { s.Network.NCaps = add(s.Network.NCaps, negated(not, "raw_icmp")) })
	case right.Honour == guest.Switched:
		f.To, f.Why = "rights.ccaps", right.By
		r.set(f, func(s *guest.Spec) { s.Rights.Ccaps = add(s.Rights.Ccaps, negated(not, right.Name)) })
	default:
		r.given(f, right, not)
	}
}

// unshares reads which namespaces the guest may make.
func (r *reader) unshares(f Finding, word string) {
	f.Value = word
	known := []string{"fs", "newns", "newuts", "newipc", "newuser", "newpid", "newnet"}
	bare := strings.ToLower(strings.TrimPrefix(strings.TrimLeft(word, "!~"), "clone_"))
	switch {
	case !slices.Contains(known, bare) && !strings.HasPrefix(bare, "^"):
		r.wrong(f, guest.WantOneOf(word, known).Error())
	case bare == "newuser" && bare == word:
		f.To = "rights.nesting"
		r.set(f, func(s *guest.Spec) { s.Rights.Nesting = true })
	default:
		f.Fate, f.To, f.Why = Near, "limits.ceilings", "a guest makes namespaces of its own, as many as the ceilings allow"
		r.tell(f)
	}
}
