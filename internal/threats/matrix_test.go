package threats_test

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/internal/threats/probe"
)

// TestMatrix tries all combinations of family, type, call and address in guests, and
// listens to what leaves and arrives: no packet has a source that is not the guest's,
// and nothing comes to it that was sent to another address.
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	w.neighbour(ground())
	for i, k := range kinds() {
		t.Run(string(k.name), func(t *testing.T) {
			w := *w
			w.t = t
			w.matrix(k.name, w.start(i, k), k.has("single_ip"))
		})
	}
}

// start starts a guest with the i-th addresses, and gives what it is told.
func (w *world) start(i int, k kind) *probe.Ground {
	g := ground()
	g.Own4, g.Own6, g.Lback = fmt.Sprintf("198.51.100.%d", 20+2*i), fmt.Sprintf("2001:db8::%d", 20+2*i), fmt.Sprintf("127.0.%d.1", 102+i)
	addrs := []string{g.Own4 + "/24 dev eth0", g.Own6 + "/64 dev eth0"}
	if k.also {
		g.Also4, g.Also6 = fmt.Sprintf("198.51.100.%d", 21+2*i), fmt.Sprintf("2001:db8::%d", 21+2*i)
		addrs = append(addrs, g.Also4+"/24 dev eth0", g.Also6+"/64 dev eth0")
	}
	w.guest(k.name, guest.XID(102+i), k.flags, addrs...)
	return g
}

// bound is a socket of the guest's that waits.
type bound struct {
	cell string
	port int
}

// tried is what the guest says of the matrix.
type tried struct {
	outcome map[string]string
	number  map[int]string
	listens []bound
	got     map[string][]string
}

func (w *world) matrix(n guest.Name, g *probe.Ground, single bool) {
	t := w.t
	var c *capture
	must(t, w.in(w.host, func() error { c = newCapture(t); return nil }))
	in, out, wait := w.begin(n, "matrix", g)
	said := tried{map[string]string{}, map[int]string{}, nil, map[string][]string{}}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		said.read(t, lines.Text())
	}
	open := w.knock(g, &said)
	io.WriteString(in, "go\n")
	for lines.Scan() {
		said.read(t, lines.Text())
	}
	must(t, wait())
	said.sent(t, mine(g), c.packets(t))
	said.received(t, g, single, open)
	said.answered(t)
	t.Logf("%d cells, %d sockets that wait", len(said.outcome), len(said.listens))
}

// mine tells which addresses are the guest's.
func mine(g *probe.Ground) func(netip.Addr) bool {
	list := []string{g.Own4, g.Own6, g.Also4, g.Also6}
	lback := netip.PrefixFrom(netip.MustParseAddr(g.Lback), 24).Masked()
	return func(a netip.Addr) bool {
		six := a.Is6() && strings.HasPrefix(a.String(), "fd76:7365:7276:7f::") && a.As16()[15] == lback.Addr().As4()[2]
		return slices.Contains(list, a.String()) || lback.Contains(a) || six
	}
}

func (s *tried) read(t testing.TB, line string) {
	f := strings.Split(line, "\t")
	switch {
	case len(f) == 4 && f[0] == "listens":
		port, err := strconv.Atoi(f[2])
		must(t, err)
		s.listens = append(s.listens, bound{f[1], port})
	case len(f) == 3 && f[0] == "got":
		s.got[f[1]] = append(s.got[f[1]], f[2])
	case len(f) == 3:
		n, err := strconv.Atoi(f[2])
		must(t, err)
		s.outcome[f[0]], s.number[n] = f[1], f[0]
	default:
		t.Errorf("the guest says %q", line)
	}
}

// knock is a knock at a port under an address.
type knock struct {
	side, addr string
	bound
}

// knock sends to every socket that waits, under every address there is: first under
// those that are not the guest's, so that what came by them is there when what was sent
// to its own has come. It gives the connections that were taken.
func (w *world) knock(g *probe.Ground, s *tried) map[knock]bool {
	w.t.Helper()
	own := []string{g.Own4, g.Own6, g.Also4, g.Also6}
	others := []string{g.Host4, g.Host6, g.Near4, g.Near6}
	taken := map[knock]bool{}
	w.knocks(w.outside, "out", others, own, s.listens, taken)
	others = append(others, "127.0.0.1", "::1", g.NearLback, "fd76:7365:7276:7f::65")
	w.knocks(w.host, "host", others, append(own, g.Lback), s.listens, taken)
	return taken
}

// knocks sends and connects from a namespace.
func (w *world) knocks(from netns.NsHandle, side string, others, own []string, list []bound, taken map[knock]bool) {
	must(w.t, w.in(from, func() error {
		tries := map[knock]int{}
		defer func() {
			for _, fd := range tries {
				unix.Close(fd)
			}
		}()
		var wait []unix.PollFd
		for i, a := range append(slices.Clone(others), own...) {
			for _, b := range list {
				k := knock{side, a, b}
				if a == "" {
					continue
				}
				if strings.Contains(b.cell, "/udp/") {
					k.send()
				} else if fd, err := k.connect(); err == nil {
					tries[k] = fd
					if i >= len(others) {
						wait = append(wait, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT})
					}
				}
			}
		}
		await(wait)
		for k, fd := range tries {
			_, err := unix.Getpeername(fd)
			taken[k] = err == nil
		}
		return nil
	}))
}

// await waits until all have an answer, or for a while: silence is one, too.
func await(list []unix.PollFd) {
	for end := time.Now().Add(3 * time.Second); len(list) > 0 && time.Now().Before(end); {
		unix.Poll(list, 100)
		list = slices.DeleteFunc(list, func(f unix.PollFd) bool { return f.Revents != 0 })
	}
}

func (k knock) sockaddr() (int, unix.Sockaddr) {
	a := netip.MustParseAddr(k.addr)
	if a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: k.port, Addr: a.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: k.port, Addr: a.As16()}
}

func (k knock) send() {
	family, to := k.sockaddr()
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Sendto(fd, []byte(k.side+" "+k.addr), 0, to)
		unix.Close(fd)
	}
}

func (k knock) connect() (int, error) {
	family, to := k.sockaddr()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		err = unix.Connect(fd, to)
	}
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// sent holds what left against the guest's own addresses.
func (s *tried) sent(t testing.TB, own func(netip.Addr) bool, list []packet) {
	t.Helper()
	seen := map[string]bool{}
	for _, p := range list {
		cell, ok := s.number[p.cell()]
		inside := p.echo && p.from.IsLoopback() && p.to.IsLoopback() // the kernel answers
		leaks := (ok || p.echo) && !own(p.from) && !inside
		if ok {
			seen[cell] = true
		}
		if i := slices.IndexFunc(s.listens, func(b bound) bool { return b.port == p.fromPort }); p.answers && i >= 0 {
			cell, leaks = s.listens[i].cell, !own(p.from)
		}
		if leaks {
			t.Errorf("%s: a packet of protocol %d left from %v to %v", cell, p.protocol, p.from, p.to)
		}
	}
	for cell, outcome := range s.outcome { // and the ear is good: what must leave was heard
		op, _, _ := strings.Cut(cell, "/")
		leaves := slices.Contains([]string{"connect", "sendto", "dissolve", "fastopen"}, op) && strings.HasSuffix(cell, "/out") || op == "bind" && strings.HasSuffix(cell, "/own")
		if leaves && !strings.Contains(cell, "/icmp/") && (!seen[cell] || outcome != "ok") {
			t.Errorf("%s: %s, and nothing left", cell, outcome)
		}
	}
}

// received holds what arrived against the guest's own addresses.
func (s *tried) received(t testing.TB, g *probe.Ground, single bool, taken map[knock]bool) {
	t.Helper()
	own := mine(g)
	got := map[knock]bool{}
	for k, yes := range taken {
		got[k] = yes
	}
	for _, b := range s.listens {
		for _, words := range s.got[b.cell] {
			side, addr, ok := strings.Cut(words, " ")
			if !ok {
				t.Errorf("%s: heard %q", b.cell, words)
			}
			got[knock{side, addr, b}] = true
		}
	}
	for k, yes := range got {
		if a := netip.MustParseAddr(k.addr); yes && !own(a) {
			t.Errorf("%s: took what was for %s, from the side %s", k.cell, k.addr, k.side)
		}
	}
	for _, b := range s.listens {
		for _, addr := range expected(b.cell, g, single) {
			if strings.HasSuffix(b.cell, "/udp/wildcard") && gap(addr, g) {
				continue
			}
			if !got[knock{"out", addr, b}] {
				t.Errorf("%s: nothing came for %s", b.cell, addr)
			}
		}
	}
}

// expected are the addresses under which a socket must be reached.
func expected(cell string, g *probe.Ground, single bool) (out []string) {
	f := strings.Split(cell, "/") // operation, version, transport, target
	if f[2] == "udp" && f[0] == "auto" {
		return nil
	}
	four, six := []string{g.Own4, g.Also4}, []string{g.Own6, g.Also6}
	if single {
		four, six = four[:1], six[:1]
	}
	switch {
	case f[3] == "own" && f[1] == "6":
		out = six[:1]
	case f[3] == "own":
		out = four[:1]
	case f[3] == "also" && f[1] == "6":
		out = []string{g.Also6}
	case f[3] == "also":
		out = []string{g.Also4}
	case f[3] != "wildcard" && f[0] != "auto":
	case f[1] == "6":
		out = append(six, four...)
	default:
		out = four
	}
	return slices.DeleteFunc(slices.Clone(out), func(a string) bool { return a == "" })
}

// answered holds what bind(2) said against what an address is.
func (s *tried) answered(t testing.TB) {
	t.Helper()
	for cell, got := range s.outcome {
		f := strings.Split(cell, "/")
		if f[2] == "icmp" || !slices.Contains([]string{"bind", "freebind", "reuse", "noport"}, f[0]) {
			continue
		}
		want := "EADDRNOTAVAIL"
		if slices.Contains([]string{"own", "also", "loopback", "loopback near", "loopback other", "wildcard"}, f[3]) {
			want = "ok"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", cell, got, want)
		}
	}
}

// gap tells of a wildcard of UDP for which addresses it is not there yet: it becomes
// the guest's first address of IPv4, until vserverd has entered it for the others.
func gap(addr string, g *probe.Ground) bool { return addr != g.Own4 }
