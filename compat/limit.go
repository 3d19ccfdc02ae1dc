package compat

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/host"
	"vserver/limit"
	"vserver/limit/count"
)

// infinite is a limit that is none.
const infinite = math.MaxUint64

// resources are the limits of vlimit by their number, "" where there is none.
func resources() []string {
	return []string{"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
		"", "msgqueue", "", "", "", "nsock", "openfd", "anon", "shmem", "semary", "nsems", "dentry"}
}

// bound is what is asked of one resource: min, soft and hard, those that are set.
type bound [3]*uint64

const (
	lowest = iota
	soft
	hard
)

type bounds struct {
	xid, dir                       string
	all, numbers, decimal, missing bool
	kinds                          [3]bool // asked for the next resource
	asked                          map[int]bound
}

func newVlimit(c *call) run {
	b := bounds{asked: map[int]bound{}}
	f := c.flags
	f.StringVarP(&b.xid, "xid", "c", "", "context `X`: its number, or the name of a guest")
	f.BoolVarP(&b.all, "all", "a", false, "show the limits that there are")
	f.BoolVarP(&b.numbers, "numbers", "n", false, "numbers instead of the limits' names")
	f.BoolVarP(&b.decimal, "decimal", "d", false, "decimal numbers")
	f.StringVar(&b.dir, "dir", "", "read the limits from files of `DIR`: RES, RES.min, RES.soft, RES.hard")
	f.BoolVar(&b.missing, "missingok", false, "no complaint when DIR is not there")
	for kind, letter := range []string{"M", "S", "H"} {
		word := []string{"minimum", "soft", "hard"}[kind]
		f.VarPF(&noted{func(string) error { b.kinds[kind] = true; return nil }}, word, letter, "the next limit is the "+word+" one").NoOptDefVal = "true"
	}
	for i := range 32 {
		set := &noted{func(value string) error { return b.set(i, value) }}
		if i < len(resources()) && resources()[i] != "" {
			f.Var(set, resources()[i], "limit `N`, with k, m, K or M, or inf")
		}
		f.Var(set, strconv.Itoa(i), "")
		f.Lookup(strconv.Itoa(i)).Hidden = true
	}
	return func(words []string) error {
		if b.dir != "" {
			if err := b.read(); err != nil {
				return err
			}
		}
		s, err := c.subject(b.xid)
		if err != nil {
			return err
		}
		defer s.close()
		if err := c.limit(s, &b, len(words) > 0); err != nil {
			return err
		}
		if b.all {
			if err := c.limits(s, &b); err != nil {
				return err
			}
		}
		return become(words)
	}
}

// noted is an option whose value is told to a function.
type noted struct{ do func(string) error }

// String gives nothing: there is no default.
func (n *noted) String() string { return "" }

// Set tells the value.
func (n *noted) Set(value string) error { return n.do(value) }

// Type is the word for the value in a help text.
func (n *noted) Type() string { return "" }

func (b *bounds) set(i int, value string) error {
	n, err := number(value)
	if err != nil {
		return err
	}
	if b.kinds == [3]bool{} {
		b.kinds[hard] = true
	}
	have := b.asked[i]
	for kind, on := range b.kinds {
		if on {
			have[kind] = &n
		}
	}
	b.asked[i], b.kinds = have, [3]bool{}
	return nil
}

// number reads a limit: inf, or a number in the notation of C with k, m, K or M behind it.
func number(text string) (uint64, error) {
	word, factor := strings.TrimSpace(text), uint64(1)
	if word == "inf" {
		return infinite, nil
	}
	for _, u := range []struct {
		letter string
		factor uint64
	}{{"k", 1000}, {"m", 1000 * 1000}, {"K", 1 << 10}, {"M", 1 << 20}} {
		if w, ok := strings.CutSuffix(word, u.letter); ok {
			word, factor = w, u.factor
		}
	}
	n, err := strconv.ParseUint(word, 0, 64)
	if err != nil || n > infinite/factor {
		return 0, fmt.Errorf("%q: want a number with k, m, K or M, or inf", text)
	}
	return n * factor, nil
}

// read takes from files what no option says.
func (b *bounds) read() error {
	if _, err := os.Stat(b.dir); err != nil {
		if b.missing && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for i, name := range resources() {
		if _, said := b.asked[i]; said || name == "" {
			continue
		}
		var found bound
		for _, suffix := range []string{"", ".min", ".soft", ".hard"} {
			path := filepath.Join(b.dir, name+suffix)
			text, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			n, err := number(string(text))
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			switch suffix {
			case "":
				found = bound{&n, &n, &n}
			default:
				found[slices.Index([]string{".min", ".soft", ".hard"}, suffix)] = &n
			}
			b.asked[i] = found
		}
	}
	return nil
}

// limit gives a subject the limits, or a command that follows.
func (c *call) limit(s subject, b *bounds, follows bool) error {
	var l guest.Limits
	var changes []string
	for i, name := range resources() {
		have, ok := b.asked[i]
		if !ok {
			continue
		}
		some, err := c.grouped(name, have, &l)
		switch {
		case err != nil:
			return err
		case some != nil && (s.guest != "" || s.alone != nil && name != "nsock"):
			changes = append(changes, some...)
			continue
		}
		n, ok := guest.RlimitNumber(own(name))
		if !ok {
			return lacking("--"+name+": no limit of a context", insteadOf(name))
		}
		if !follows || b.xid != "" && b.xid != "self" {
			return lacking("--"+name+": is a limit of each process", "`vlimit --"+name+" N -- COMMAND` before it runs, or limits.rlimits of a guest's spec")
		}
		if err := ownLimit(name, n, have); err != nil {
			return err
		}
	}
	switch {
	case len(changes) == 0:
		return nil
	case s.guest != "":
		return host.Lend(c.host, s.guest, changes)
	}
	cg, path, err := c.group(s)
	if err != nil {
		return err
	}
	return limit.Further(cg, path, l)
}

// grouped gives what a limit is in the words of a spec, and sets it in l; nil for one that
// no control group has.
func (c *call) grouped(name string, b bound, l *guest.Limits) (changes []string, err error) {
	pages := func(n uint64) guest.Bytes {
		if n > math.MaxInt64/uint64(os.Getpagesize()) {
			return 0
		}
		return guest.Bytes(n) * guest.Bytes(os.Getpagesize())
	}
	switch name {
	case "nproc":
		if b[hard] == nil {
			return nil, lacking("--nproc: has a hard limit alone", "-H")
		}
		l.Pids = int(min(*b[hard], maxPids))
		changes = append(changes, "limits.pids="+strconv.Itoa(l.Pids))
	case "nsock":
		if b[hard] == nil {
			return nil, lacking("--nsock: has a hard limit alone", "-H")
		}
		n := *b[hard]
		switch n {
		case 0:
			return nil, lacking("--nsock 0: 0 is no limit", "network.mode: none, for a guest without sockets of the host's network")
		case infinite:
			n = 0
		}
		changes = append(changes, "network.sockets="+strconv.FormatUint(n, 10))
	case "rss", "anon":
		for kind, to := range map[int]struct {
			key string
			at  *guest.Bytes
		}{lowest: {"memory_reserved", &l.MemoryReserved}, soft: {"memory_soft", &l.MemorySoft}, hard: {"memory", &l.Memory}} {
			if b[kind] == nil {
				continue
			}
			*to.at = pages(*b[kind])
			word := to.at.String()
			if *to.at == 0 {
				word = "" // the default, which is none
			}
			changes = append(changes, "limits."+to.key+"="+word)
		}
	}
	return changes, nil
}

// maxPids is what the kernel has at most (linux/threads.h: PID_MAX_LIMIT).
const maxPids = 4 << 20

// own is the name by which a process has a limit that was a context's.
func own(name string) string {
	if name == "openfd" {
		return "nofile"
	}
	return name
}

func insteadOf(name string) string {
	switch name {
	case "nsock":
		return "`vlimit --xid GUEST --nsock N`: a guest has such a limit, by network.sockets"
	case "shmem", "semary", "nsems":
		return "rights.sysctls of a guest's spec, as kernel.shmall: 262144"
	}
	return "limits.memory of a guest's spec, which counts that as well"
}

// ownLimit limits this process, and what it executes.
func ownLimit(name string, resource int, b bound) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(resource, &l); err != nil {
		return os.NewSyscallError("getrlimit "+name, err)
	}
	if b[hard] != nil {
		l.Max = *b[hard]
		l.Cur = min(l.Cur, l.Max)
		if b[soft] == nil {
			l.Cur = l.Max
		}
	}
	if b[soft] != nil {
		l.Cur = *b[soft]
	}
	return os.NewSyscallError("setrlimit "+name, syscall.Setrlimit(resource, &l))
}

// limits shows what control groups hold, in the columns of the old tool.
func (c *call) limits(s subject, b *bounds) error {
	if s.guest == "" && s.alone == nil {
		return lacking("the host has no limits", "--xid of a context")
	}
	cg, path, err := c.group(s)
	if err != nil {
		return err
	}
	l := count.Now(cg, path)
	page := guest.Bytes(os.Getpagesize())
	for _, r := range []struct {
		number int
		values [3]int64 // -1 is one that is not there
	}{
		{5, [3]int64{int64(l.MemoryReserved / page), int64(l.MemorySoft / page), int64(l.Memory / page)}},
		{6, [3]int64{-1, -1, int64(l.Pids)}},
		{16, [3]int64{-1, -1, c.sockets(s)}},
	} {
		if r.values == [3]int64{-1, -1, -1} {
			continue
		}
		name := strings.ToUpper(resources()[r.number])
		if b.numbers {
			name = strconv.Itoa(r.number)
		}
		var words [3]string
		for kind, n := range r.values {
			switch {
			case n < 0:
				words[kind] = "N/A"
			case n == 0 && kind == lowest:
				words[kind] = b.text(0)
			case n == 0:
				words[kind] = "inf"
			default:
				words[kind] = b.text(n)
			}
		}
		fmt.Fprintf(c.out, "%-10s  %-18s  %-18s  %s\n", name, words[lowest], words[soft], words[hard])
	}
	return nil
}

// sockets is how many sockets a guest may have, 0 for no limit; -1 for who is none, or has a
// network of its own.
func (c *call) sockets(s subject) int64 {
	if s.guest == "" {
		return -1
	}
	st, err := c.host.Status(s.guest)
	if err != nil || st.Net == nil || st.Mode != guest.NetShared {
		return -1
	}
	for _, p := range st.Net.Limits {
		if p.Name == "sockets" {
			return p.Max
		}
	}
	return 0
}

func (b *bounds) text(n int64) string {
	if b.decimal {
		return strconv.FormatInt(n, 10)
	}
	return "0x" + strconv.FormatInt(n, 16)
}
