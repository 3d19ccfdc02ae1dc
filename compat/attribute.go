package compat

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/cred"
	"vserver/kernel/proc"
	"vserver/store"
)

type attributes struct {
	xid                      string
	set, get, secure         bool
	bcaps, ccaps, flag, mask []string
}

func newVattribute(c *call) run {
	var a attributes
	c.flags.StringVar(&a.xid, "xid", "", "context `X`: its number, or the name of a guest")
	c.flags.BoolVar(&a.set, "set", false, "change, which is the default")
	c.flags.BoolVar(&a.get, "get", false, "show")
	c.flags.StringArrayVar(&a.bcaps, "bcap", nil, "system `[!]CAPABILITY`, several with commas")
	c.flags.StringArrayVar(&a.ccaps, "ccap", nil, "context `[!]CAPABILITY`, several with commas")
	c.flags.StringArrayVar(&a.flag, "flag", nil, "context `[!]FLAG`, several with commas")
	c.flags.StringArrayVar(&a.mask, "umask", nil, "not supported: `NAMESPACE`")
	c.flags.BoolVar(&a.secure, "secure", false, "what a guest has by default")
	return func(words []string) error {
		s, err := c.subject(a.xid)
		if err != nil {
			return err
		}
		defer s.close()
		paused, err := c.pause(s, &a)
		switch {
		case err != nil:
		case a.get:
			err = c.attributes(s)
		case len(a.mask) > 0:
			err = lacking("--umask: no mask of namespaces", "rights.ccaps: [namespace] of a guest's spec, or its absence")
		case s.guest != "":
			err = c.change(s.guest, a)
		case paused && len(a.bcaps)+len(a.ccaps)+len(a.flag) == 0 && !a.secure:
		case a.xid != "" && a.xid != "self" || len(words) == 0:
			err = lacking("the rights of processes that run cannot be taken", "`vattribute --set ... -- COMMAND`, before it runs")
		default:
			return c.confine(a, words)
		}
		if err != nil {
			return err
		}
		return become(words)
	}
}

// pause takes the flag sched_pause out of those that are asked for: it is of what runs, not
// of a spec, and stops or continues all its processes.
func (c *call) pause(s subject, a *attributes) (done bool, err error) {
	if a.get || s.self {
		return false, nil
	}
	var rest []string
	for _, w := range words(a.flag) {
		if guest.BareWord(w) != "sched_pause" {
			rest = append(rest, w)
			continue
		}
		done = true
		g, err := c.open(s)
		if err != nil {
			return done, err
		}
		err = errors.Join(g.Freeze(strings.TrimLeft(w, "!~") == w), g.Close())
		if err != nil {
			return done, err
		}
	}
	a.flag = rest
	return done, nil
}

// open opens the subject's control group.
func (c *call) open(s subject) (*cgroup.Group, error) {
	cg, path, err := c.group(s)
	if err != nil {
		return nil, err
	}
	return cg.Open(path)
}

// pausedFlag is the flag sched_pause of a subject that is stopped.
func (c *call) pausedFlag(s subject) (names []string) {
	if g, err := c.open(s); err == nil {
		if frozen, err := g.Frozen(); err == nil && frozen {
			names = []string{"sched_pause"}
		}
		g.Close()
	}
	return names
}

// attributes shows what a context may do.
func (c *call) attributes(s subject) error {
	if s.guest == "" {
		caps := cred.Bounding()
		if s.alone != nil && !s.self {
			var err error
			if caps, err = bounding(s); err != nil {
				return err
			}
		}
		var flags []string
		if s.alone != nil && !s.self {
			flags = c.pausedFlag(s)
		}
		c.print(guest.Capset(caps).Names(), nil, flags)
		return nil
	}
	spec, err := c.host.Load(s.guest)
	if err != nil {
		return err
	}
	caps, err1 := spec.Bounding()
	ccaps, err2 := spec.CcapSet()
	flags, err3 := spec.FlagSet()
	view, err4 := spec.Views()
	net, err5 := spec.Network.NetCaps()
	names := append(namesOf(guest.Flags(), flags), c.pausedFlag(s)...)
	for word, flag := range map[string]guest.ViewFlags{"virt_mem": guest.VirtMem, "virt_cpu": guest.VirtCPU, "virt_load": guest.VirtLoad, "virt_uptime": guest.VirtUptime} {
		if view.Has(flag) {
			names = append(names, word)
		}
	}
	if spec.Network.Hidden() {
		names = append(names, "hide_netif")
	}
	cnames := namesOf(guest.Ccaps(), ccaps)
	if net&guest.RawICMP != 0 {
		cnames = append(cnames, "raw_icmp")
	}
	c.print(caps.Names(), byBit(guest.Ccaps(), cnames), byBit(guest.Flags(), names))
	return errors.Join(err1, err2, err3, err4, err5)
}

func (c *call) print(bcaps, ccaps, flags []string) {
	var umask string
	if slices.Contains(ccaps, "namespace") {
		umask = "newns,newuts,newipc,newuser,newpid,newnet"
	}
	fmt.Fprintf(c.out, "bcapabilities:\n%s\nccapabilities:\n%s\nflags:\n%s\numask:\n%s\n", strings.Join(bcaps, ","), strings.Join(ccaps, ","), strings.Join(flags, ","), umask)
}

func bounding(s subject) (uint64, error) {
	pid, err := s.alone.First()
	if err != nil {
		return 0, err
	}
	p, err := proc.Open()
	if err != nil {
		return 0, err
	}
	defer p.Close()
	st, err := p.Status(pid)
	return st.Bounding, err
}

// namesOf gives the names of a set's rights.
func namesOf(table []guest.Right, set guest.RightSet) (names []string) {
	for _, r := range table {
		if r.Bit >= 0 && set.Has(r.Bit) {
			names = append(names, r.Name)
		}
	}
	return names
}

// byBit sorts names as their table has them.
func byBit(table []guest.Right, names []string) []string {
	at := func(name string) int {
		return slices.IndexFunc(table, func(r guest.Right) bool { return r.Name == name })
	}
	slices.SortFunc(names, func(a, b string) int { return at(a) - at(b) })
	return names
}

// change writes rights into a guest's spec: each flag under the key that says it.
func (c *call) change(n guest.Name, a attributes) error {
	spec, err := c.host.Load(n)
	if err != nil {
		return err
	}
	if store.Old(c.host.Dirs.Spec(n)) {
		return c.annex(n, a)
	}
	lists := map[string][]string{
		"rights.bcaps": spec.Rights.Bcaps, "rights.ccaps": spec.Rights.Ccaps, "rights.flags": spec.Rights.Flags,
		"view.flags": spec.View.Flags, "network.flags": spec.Network.Flags, "network.ncaps": spec.Network.NCaps,
	}
	changed := map[string]bool{}
	put := func(key, word string) {
		changed[key] = true
		lists[key] = replace(lists[key], word)
	}
	if a.secure {
		lists["rights.bcaps"], lists["rights.ccaps"] = nil, nil
		changed["rights.bcaps"], changed["rights.ccaps"] = true, true
	}
	for _, w := range words(a.bcaps) {
		put("rights.bcaps", w)
	}
	for _, w := range words(a.ccaps) {
		put(guest.RightKey(guest.Ccaps(), w, "rights.ccaps"), w)
	}
	for _, w := range words(a.flag) {
		put(guest.RightKey(guest.Flags(), w, "rights.flags"), w)
	}
	var changes []string
	for _, key := range slices.Sorted(maps.Keys(changed)) {
		quoted := make([]string, len(lists[key]))
		for i, w := range lists[key] {
			quoted[i] = strconv.Quote(w)
		}
		value := "[" + strings.Join(quoted, ", ") + "]"
		if len(quoted) == 0 {
			value = ""
		}
		changes = append(changes, key+"="+value)
	}
	if len(changes) == 0 {
		return nil
	}
	return c.write(n, changes...)
}

// annex writes rights into the files of a guest that is a directory of old.
func (c *call) annex(n guest.Name, a attributes) error {
	flags := "flags"
	dir := strings.TrimSuffix(c.host.Dirs.Spec(n), ".yaml")
	if _, err := os.Stat(filepath.Join(dir, "cflags")); err == nil {
		flags = "cflags"
	}
	for _, l := range []struct {
		key   string
		words []string
		table []guest.Right
		clear bool
	}{{"bcapabilities", words(a.bcaps), nil, a.secure}, {"ccapabilities", words(a.ccaps), guest.Ccaps(), a.secure}, {flags, words(a.flag), guest.Flags(), false}} {
		if l.table == nil {
			if _, err := guest.Capset(0).Change(l.words); err != nil {
				return err
			}
		}
		for _, w := range l.words {
			bare := guest.BareWord(w)
			known := func(r guest.Right) bool { return r.Name == bare || slices.Contains(r.Aliases, bare) }
			if l.table != nil && bare[0] != '^' && !slices.ContainsFunc(l.table, known) {
				return usagef("%s: no such name", w)
			}
		}
		if len(l.words) == 0 && !l.clear {
			continue
		}
		if err := store.Annex(c.host.Dirs.Spec(n), l.key, l.words, l.clear); err != nil {
			return err
		}
		fmt.Fprintf(c.err, "%s: %s: %s: from the next start on\n", c.name, n, filepath.Join(dir, l.key))
	}
	return nil
}

// replace puts a word in the place of one that says the same or its contrary.
func replace(list []string, word string) []string {
	list = slices.DeleteFunc(slices.Clone(list), func(w string) bool { return guest.BareWord(w) == guest.BareWord(word) })
	return append(list, strings.Replace(word, "~", "!", 1))
}

// confine goes on as a command that may do no more than asked.
func (c *call) confine(a attributes, command []string) error {
	if len(a.ccaps) > 0 {
		return lacking("--ccap: a command without a guest has none", "--bcap, or a guest's rights.ccaps")
	}
	for _, w := range words(a.flag) {
		i := slices.IndexFunc(guest.Flags(), func(r guest.Right) bool { return r.Name == guest.BareWord(w) })
		if i < 0 {
			return usagef("flag %q: no such name", w)
		}
		if h := guest.Flags()[i].Honour; h != guest.Always && h != guest.Passed {
			return lacking("--flag "+w+": a command without a guest has no such thing", "a guest's rights.flags")
		}
	}
	caps := guest.Capset(cred.Bounding())
	if a.secure {
		s := guest.Spec{Userns: guest.UsernsNone}
		kept, err := s.Bounding()
		if err != nil {
			return err
		}
		caps &= kept
	}
	caps, err := caps.Change(words(a.bcaps))
	if err != nil {
		return err
	}
	return keep(uint64(caps), command)
}

// keep goes on as a command with these capabilities and no others.
func keep(caps uint64, words []string) error {
	runtime.LockOSThread()
	if err := cred.Keep(caps); err != nil {
		return fault.Hint(err, "only root can take capabilities from what it executes: `sudo`")
	}
	return become(words)
}
