package seccomp

import "golang.org/x/sys/unix"

// Narrow are rights that a guest has or lacks beyond the table, one call or one argument
// at a time.
type Narrow struct {
	Without    []string // system calls that are refused
	NoNew      bool     // no namespaces beside those that there are
	NoRemount  bool     // mount(2) changes no mount that is there
	TypeAhead  bool     // TIOCSTI, which types into a terminal
	Links      bool     // what root of a network asks the kernel for: see loading
	FixNice    bool     // raising a priority does nothing, and says that it did
	FixIONice  bool     // the same for that of block devices
	AskedNodes bool     // a supervisor makes device nodes: see Listened
	AskedSize  bool     // a supervisor tells how large the machine is: sysinfo(2)
	AskedCPUs  bool     // and on which processors a thread may run: sched_getaffinity(2)
	AskedLimit bool     // a supervisor raises limits: setrlimit(2), and prlimit(2) when it sets one
	AskedQuota bool     // a supervisor tells and sets quotas: quotactl(2), quotactl_fd(2)
}

// The verdicts of narrow rights; no table has them.
const (
	remount verdict = 'R'
	nice    verdict = 'N'
	ioNice  verdict = 'I'
	node    verdict = 'd'
	nodeAt  verdict = 'D'
	ask     verdict = '?'
	askNew  verdict = '!' // what the table refuses, too
	limit   verdict = 'l'
)

// Listened tells whether a filter of the policy must be installed with a listener.
func (p Policy) Listened() bool {
	return p.Notify || p.AskedNodes || p.AskedSize || p.AskedCPUs || p.AskedLimit || p.AskedQuota
}

// special is a call with a verdict of its own.
type special struct {
	n uint32
	v verdict
}

// specials gives the calls of an abi that narrow rights are about. Questions to a
// supervisor, who knows the machine's own calls, are for these alone.
func (p Policy) specials(a abi, own bool) (list []special) {
	add := func(v verdict, names ...string) {
		for _, name := range names {
			for _, b := range a.blocks {
				if n, ok := b.find(name); ok {
					list = append(list, special{n, v})
				}
			}
		}
	}
	add(refuse, p.Without...)
	if p.NoRemount {
		add(remount, "mount")
	}
	if p.NoNew {
		add(absent, "clone3")
	}
	if p.FixNice {
		add(nice, "setpriority")
	}
	if p.FixIONice {
		add(ioNice, "ioprio_set")
	}
	if p.AskedNodes && own {
		add(node, "mknod")
		add(nodeAt, "mknodat")
	}
	if p.AskedSize && own {
		add(ask, "sysinfo")
	}
	if p.AskedCPUs && own {
		add(ask, "sched_getaffinity")
	}
	if p.AskedLimit && own {
		add(ask, "setrlimit")
		add(limit, "prlimit64")
	}
	if p.AskedQuota && own {
		add(askNew, "quotactl", "quotactl_fd")
	}
	return list
}

// settled gives the special verdict of a number, or v.
func settled(list []special, n uint32, v verdict) verdict {
	for _, s := range list {
		// What the table refuses altogether stays refused.
		if s.n == n && (s.v == askNew || v != refuse && v != absent) {
			return s.v
		}
	}
	return v
}

// narrow writes the check of a special verdict; ok is false for others.
func (c *code) narrow(v verdict, yes, no label) (l label, ok bool) {
	done := func() label { return c.ret(errno(0)) }
	switch v {
	case remount:
		return c.loaded(low(3), c.jump(unix.BPF_JSET, unix.MS_REMOUNT, no, yes)), true
	case nice:
		// setpriority(which, who, value): below 0 is above the normal.
		return c.loaded(low(2), c.jump(unix.BPF_JGE, 0x80000000, done(), yes)), true
	case ioNice:
		// ioprio_set(which, who, value): 0 is what goes by the niceness; the class is in the
		// bits from 13, best effort is 2 and its normal level 4 (linux/ioprio.h).
		const normal = 2<<13 | 4
		above := c.jump(unix.BPF_JGE, normal, yes, done())
		return c.loaded(low(2), c.jump(unix.BPF_JEQ, 0, yes, above)), true
	case node:
		return c.nodes(1, yes), true
	case nodeAt:
		return c.nodes(2, yes), true
	case ask, askNew:
		return c.ret(unix.SECCOMP_RET_USER_NOTIF), true
	case limit:
		// prlimit(pid, resource, new, old): without a new one it is a question.
		asked := c.ret(unix.SECCOMP_RET_USER_NOTIF)
		rest := c.loaded(high(2), c.jump(unix.BPF_JEQ, 0, yes, asked))
		return c.loaded(low(2), c.jump(unix.BPF_JEQ, 0, rest, asked)), true
	}
	return 0, false
}

// nodes writes the check of mknod(2), whose argument mode has the kind: devices, but for
// overlay's whiteouts (0:0), which everybody may make, are a supervisor's.
func (c *code) nodes(mode uint32, yes label) label {
	ask := c.ret(unix.SECCOMP_RET_USER_NOTIF)
	char := c.loaded(low(mode+1), c.jump(unix.BPF_JEQ, 0, yes, ask))
	kind := c.jump(unix.BPF_JEQ, unix.S_IFBLK, ask, yes)
	kind = c.jump(unix.BPF_JEQ, unix.S_IFCHR, char, kind)
	c.near(kind, 0)
	kind = c.emit(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, unix.S_IFMT, 0, 0)
	return c.loaded(low(mode), kind)
}
