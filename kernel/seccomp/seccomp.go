package seccomp

import "golang.org/x/sys/unix"

// Policy says which filter a guest gets.
type Policy struct {
	// Extra is let through beyond the table: names of system calls, of socket
	// families (AF_VSOCK), of protocols of IP (IPPROTO_SCTP) and of netlink
	// (NETLINK_XFRM), [Bits32] and [FileFlags]. A call named here is not looked at any further.
	Extra []string
	// Nesting lets the guest make user namespaces and take packets, as container
	// runtimes inside it do.
	Nesting bool
	// Private says that the guest has a user namespace of its own, in which its root
	// may mount and make namespaces. Without one the list is shorter.
	Private bool
	// Capped says that the number of user namespaces below the guest is held down
	// from outside (user.max_user_namespaces of a namespace above the guest's), so
	// that clone3(2), whose flags no filter sees, can be let through. Otherwise it is
	// absent and C libraries use clone(2).
	Capped bool
	// Notify has a supervisor answer what a guest asks of the host's network: sockets of
	// AF_INET and AF_INET6 for streams and datagrams, and questions for interfaces by
	// ioctl. All else that it may have is of its own network namespace. The filter must be
	// installed with a listener.
	Notify bool
	Narrow
}

// Bits32 is the word of [Policy].Extra that lets programs of the machine's 32-bit
// sibling run: i386 on amd64, arm on arm64. The same verdicts hold for them, but the
// families of sockets that i386 programs make cannot be seen.
const Bits32 = "32-bit"

// FileFlags is the word of [Policy].Extra that lets a guest set flags of files, as
// chattr(1) does. It can leave its limits of disk by them.
const FileFlags = "FS_IOC_SETFLAGS"

// abi is one way of calling the kernel: its AUDIT_ARCH_* and its calls.
type abi struct {
	arch   uint32
	blocks [2]block
}

// block is a run of numbers. One letter of verdicts stands for each, and one word of
// names between blanks; the word of a number that means nothing is empty.
type block struct {
	first           uint32
	verdicts, names string
}

// verdict is a letter of the tables; gen writes them.
type verdict byte

// The verdicts of policy.txt.
const (
	allow       verdict = 'a'
	admin       verdict = 'm'
	private     verdict = 'p'
	refuse      verdict = 'e'
	absent      verdict = 'n'
	socket      verdict = 's'
	socketpair  verdict = 'S'
	clone       verdict = 'c'
	clone3      verdict = '3'
	unshare     verdict = 'u'
	ioctl       verdict = 'i'
	personality verdict = 'o'
	prctl       verdict = 't'
	requestKey  verdict = 'k'
)

// settle gives the verdict that stands under a policy: allow, refuse, absent or a
// look at the arguments.
func (p Policy) settle(v verdict) verdict {
	switch {
	case v == admin && (p.Private || p.Nesting), v == private && p.Private,
		v == clone3 && (p.Nesting || p.Capped && p.Private),
		(v == clone || v == unshare) && p.Nesting && !p.NoNew:
		return allow
	case v == admin, v == private, v == requestKey && !p.Private:
		return refuse
	case v == clone3:
		return absent
	}
	return v
}

// Filter is a program of classic BPF, as seccomp(2) takes it.
type Filter = []unix.SockFilter

// Compile gives the program for seccomp(2). An error names the word of Extra that
// is not known, and one that is.
func Compile(p Policy) (Filter, error) {
	more, err := parse(p.Extra)
	if err != nil {
		return nil, err
	}
	c := &code{at: make([]unix.SockFilter, 0, 512)}
	checks := c.checks(p, more)
	none := c.ret(errno(unix.ENOSYS))
	next := none
	if more.bits32 {
		other := sibling()
		entry := c.search(p, other, more, checks)
		next = c.jump(unix.BPF_JEQ, other.arch, entry, none)
	}
	own := native()
	entry := c.search(p, own, more, checks)
	c.jump(unix.BPF_JEQ, own.arch, entry, next)
	c.load(offArch)
	return c.done(), nil
}

// search writes the program of one abi: a balanced search for the number.
func (c *code) search(p Policy, a abi, more extra, checks func(verdict) label) label {
	spans := make([]span, 0, 128)
	var ioctlNr uint32
	special := p.specials(a, a.arch == native().arch)
	for _, b := range a.blocks {
		if b.verdicts == "" {
			continue
		}
		spans = add(spans, b.first, absent) // the gap ends here, see below
		for i := range len(b.verdicts) {
			nr := b.first + uint32(i)
			v := settled(special, nr, p.settle(verdict(b.verdicts[i])))
			if more.has(a.arch, nr) {
				v = allow
			}
			if v == ioctl {
				ioctlNr = nr
			}
			spans = add(spans, nr, v)
		}
		spans = add(spans, b.first+uint32(len(b.verdicts)), absent)
	}
	entry := c.halve(spans, checks)
	if ioctlNr != 0 {
		entry = c.jump(unix.BPF_JEQ, ioctlNr, checks(ioctl), entry)
	}
	return c.loaded(offNr, entry)
}

// span is a range of numbers with one verdict, to the start of the next.
type span struct {
	start uint32
	v     verdict
}

// add appends a number's verdict to spans, in ascending order of numbers.
func add(spans []span, nr uint32, v verdict) []span {
	n := len(spans)
	switch {
	case n > 0 && spans[n-1].v == v:
		return spans
	case n > 0 && spans[n-1].start == nr:
		spans[n-1].v = v
		return spans
	}
	return append(spans, span{nr, v})
}

// halve writes the search for a number, already loaded, in spans.
func (c *code) halve(spans []span, checks func(verdict) label) label {
	if len(spans) == 1 {
		return checks(spans[0].v)
	}
	mid := len(spans) / 2
	right := c.halve(spans[mid:], checks)
	left := c.halve(spans[:mid], checks)
	return c.jump(unix.BPF_JGE, spans[mid].start, right, left)
}
