package store

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"vserver/guest"
	"vserver/kernel/solo"
)

// Entry is a guest's spec, or why it cannot be read.
type Entry struct {
	Name guest.Name
	Spec *guest.Spec // as written, without defaults; nil with Err
	Err  error
}

// All reads every spec in dir, sorted by name, on all processors.
func All(dir string) ([]Entry, error) {
	names, err := Names(dir)
	if err != nil {
		return nil, err
	}
	return load(dir, names), nil
}

// load reads the specs of these names.
func load(dir string, names []guest.Name) []Entry {
	entries := make([]Entry, len(names))
	workers := min(runtime.NumCPU(), 8, (len(names)+15)/16) // a thread is not worth less than 16 files
	if workers > 1 {
		solo.Over()
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(names); i += workers {
				e := &entries[i]
				e.Name = names[i]
				e.Spec, e.Err = Load(filepath.Join(dir, string(e.Name)+suffix))
			}
		})
	}
	wg.Wait()
	return entries
}

// Clash is a setting of one guest that cannot stand beside another guest's or the
// host's. Both guests of a pair have one.
type Clash struct {
	Guest   guest.Name
	Path    string // the key, as Problem.Path
	Err     error  // guest.ErrInvalid
	Warning bool   // works, but is hardly meant
}

// Check finds what clashes among all guests, and with the ids that taken says belong
// to others. Guests that cannot be read are left out.
func Check(all []Entry, taken []Range) []Clash {
	c := &checker{specs: make(map[guest.Name]*guest.Spec, len(all))}
	for _, e := range all {
		if e.Spec != nil {
			c.specs[e.Name] = e.Spec
			c.names = append(c.names, e.Name)
		}
	}
	slices.Sort(c.names)
	same(c, "xid", "number %v", func(s *guest.Spec) (guest.XID, bool) { return s.XID, s.XID != 0 })
	hostnames := len(c.found)
	same(c, "hostname", "host name %v", func(s *guest.Spec) (string, bool) { return s.Hostname, s.Hostname != "" })
	for i := hostnames; i < len(c.found); i++ {
		c.found[i].Warning = true
	}
	c.ranges(taken)
	c.addresses()
	c.depends(all)
	return c.found
}

// Alone tells that changes of these keys are the guest's own matter: Check looks at
// nothing of them. So nobody has to read the specs of all others, 0.1 ms each.
func Alone(paths []string) bool {
	return !slices.ContainsFunc(paths, func(path string) bool {
		section, _, _ := strings.Cut(path, ".")
		return !slices.Contains([]string{"limits", "init", "console", "hooks"}, section)
	})
}

// Sole tells that a new guest's spec has nothing that Check could find another guest to have:
// no range of ids that it asked for, no address, no dependency. A host name is a warning at
// most, and a number Reserve refuses.
func Sole(s *guest.Spec) bool {
	return s.IDBase == 0 && len(s.Network.Addresses) == 0 && len(s.Boot.Depends) == 0
}

type checker struct {
	specs map[guest.Name]*guest.Spec
	names []guest.Name
	found []Clash
}

func (c *checker) add(n guest.Name, path, format string, args ...any) {
	c.found = append(c.found, Clash{Guest: n, Path: path,
		Err: fmt.Errorf(format+": %w", append(args, guest.ErrInvalid)...)})
}

// same finds guests with an equal value; value's ok is false where there is none.
func same[T comparable](c *checker, path, what string, value func(*guest.Spec) (v T, ok bool)) {
	first := make(map[T]guest.Name, len(c.names))
	for _, n := range c.names {
		v, ok := value(c.specs[n])
		if !ok {
			continue
		}
		if other, ok := first[v]; ok {
			c.add(n, path, what+" is guest %s's", v, other)
			c.add(other, path, what+" is guest %s's as well", v, n)
			continue
		}
		first[v] = n
	}
}

// ids gives the range of host ids of a guest; false when it has none of its own.
func ids(s *guest.Spec) (Range, bool) {
	base := s.IDBase
	if base == 0 && s.XID.IDBase() <= guest.MaxIDBase {
		base = s.XID.IDBase()
	}
	if base == 0 || s.Userns == guest.UsernsNone {
		return Range{}, false
	}
	return Range{From: base, To: base + guest.IDs - 1}, true
}

func idsPath(s *guest.Spec) string {
	if s.IDBase != 0 {
		return "idbase"
	}
	return "xid"
}

func (c *checker) ranges(taken []Range) {
	type owned struct {
		Range
		guest guest.Name // "" for what is not ours
	}
	var all []owned
	for _, n := range c.names {
		if r, ok := ids(c.specs[n]); ok {
			r.Owner = "guest " + string(n)
			all = append(all, owned{r, n})
		}
	}
	for _, r := range taken {
		all = append(all, owned{r, ""})
	}
	slices.SortStableFunc(all, func(a, b owned) int { return int(int64(a.From) - int64(b.From)) })
	complain := func(of, with owned) {
		if s := c.specs[of.guest]; of.guest != "" && !(with.guest != "" && s.XID == c.specs[with.guest].XID) {
			c.add(of.guest, idsPath(s), "the host's ids %d to %d belong to %s", max(of.From, with.From), min(of.To, with.To), with.Owner)
		}
	}
	// Each is held against those before it that are not over yet. Ranges of guests
	// have one length, so few are open at a time.
	var open []owned
	for _, o := range all {
		open = slices.DeleteFunc(open, func(p owned) bool { return p.To < o.From })
		for _, p := range open {
			complain(o, p)
			complain(p, o)
		}
		open = append(open, o)
	}
}

func (c *checker) addresses() {
	type place struct {
		guest guest.Name
		i     int
	}
	first := make(map[netip.Addr]place)
	for _, n := range c.names {
		for i, p := range c.specs[n].Network.Addresses {
			other, ok := first[p.Addr()]
			if !ok {
				first[p.Addr()] = place{n, i}
				continue
			}
			if other.guest != n {
				c.add(n, fmt.Sprintf("network.addresses[%d]", i), "%s is guest %s's", p.Addr(), other.guest)
				c.add(other.guest, fmt.Sprintf("network.addresses[%d]", other.i), "%s is guest %s's as well", p.Addr(), n)
			}
		}
	}
}

// depends finds guests that are waited for in vain: ones that are not there, and
// ones that wait for each other.
func (c *checker) depends(all []Entry) {
	known := make(map[guest.Name]bool, len(all)) // with those that cannot be read
	for _, e := range all {
		known[e.Name] = true
	}
	for _, n := range c.names {
		for i, d := range c.specs[n].Boot.Depends {
			at := fmt.Sprintf("boot.depends[%d]", i)
			if !known[d] {
				c.add(n, at, "there is no guest %s", d)
			} else if way := c.way(d, n); way != nil {
				c.add(n, at, "guests wait for each other: %s", strings.Join(append([]string{string(n)}, way...), " -> "))
			}
		}
	}
}

// way finds the shortest way over dependencies from one guest to another.
func (c *checker) way(from, to guest.Name) []string {
	came := map[guest.Name]guest.Name{from: ""}
	for queue := []guest.Name{from}; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		if n == to {
			var way []string
			for ; n != ""; n = came[n] {
				way = append(way, string(n))
			}
			slices.Reverse(way)
			return way
		}
		if s := c.specs[n]; s != nil {
			for _, d := range s.Boot.Depends {
				if _, seen := came[d]; !seen {
					came[d] = n
					queue = append(queue, d)
				}
			}
		}
	}
	return nil
}
