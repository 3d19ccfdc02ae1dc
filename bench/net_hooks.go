package main

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vserver/bpf"
	"vserver/kernel/cgroup"
	"vserver/kernel/ebpf"
	"vserver/ncontext/shared"
)

// hooks times what the programs of network contexts add to a system call and a packet.
// Both ends are one thread, so that nothing but the network counts, and the least of many
// short batches is told, which other work on the machine does not reach. Between the
// namespace that knows no contexts and the guest stands a group with programs that do
// nothing: what the kernel takes for calling any.
func (b *bench) hooks() (err error) {
	runtime.LockOSThread() // and never unlocked: its namespace ends with it
	var spaces [3]*os.File
	for i := range spaces {
		if err := loopbackOnly(); err != nil {
			return err
		}
		if spaces[i], err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		defer spaces[i].Close()
	}
	groups, undo, err := b.contexts()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undo()) }()
	idle, undoIdle, err := b.idleHooks(spaces[1])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undoIdle()) }()
	set, err := shared.Find(b.contextDirs())
	if err != nil {
		return err
	}
	defer set.Close()
	guest := end{spaces[2], groups[0], contextAddresses()[1]}
	return b.leastOf(&crowd{set: set}, []hookRow{
		{"no programs", end{spaces[0], -1, contextAddresses()[1]}, 0},
		{"programs that do nothing", end{spaces[1], idle, contextAddresses()[1]}, 0},
		{"host beside contexts", end{spaces[2], -1, contextAddresses()[0]}, 0},
		{"guest", guest, 0},
		{fmt.Sprintf("guest beside %d", b.many), guest, b.many},
	})
}

// hookRow is a row of the table hooks: where both ends are, and how many contexts there are
// beside.
type hookRow struct {
	name   string
	end    end
	others int
}

// leastOf makes the table.
func (b *bench) leastOf(others *crowd, ends []hookRow) error {
	least := make([][]float64, len(ends))
	for round := range b.rounds {
		for i := range ends {
			i = (i + round) % len(ends) // nobody is always the last
			e := ends[i]
			if err := others.come(e.others); err != nil {
				return err
			}
			found, err := e.end.both()
			if err := errors.Join(err, others.leave()); err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			if least[i] == nil {
				least[i] = found
			}
			for k := range found {
				least[i][k] = min(least[i][k], found[k])
			}
		}
	}
	fmt.Printf("  %-26s", "µs, and to the first row")
	for _, k := range hookKinds() {
		fmt.Printf(" %15s", k)
	}
	fmt.Printf("   (least of %d rounds)\n", b.rounds)
	for i, e := range ends {
		fmt.Printf("  %-26s", e.name)
		for k, v := range least[i] {
			fmt.Printf("  %6.3f (%5.3f)", v, v/least[0][k])
		}
		fmt.Println()
	}
	return nil
}

// idleHooks makes a group in which each hook of ours has a program that does nothing, and
// gives a descriptor of a group below it.
func (b *bench) idleHooks(space *os.File) (group int, undo func() error, err error) {
	h, err := cgroup.Find()
	if err != nil {
		return -1, nil, err
	}
	name := fmt.Sprintf("vserver-bench-idle-%d", os.Getpid())
	parent, err := h.Create(name)
	if err != nil {
		return -1, nil, err
	}
	below, err := h.Create(name + "/0")
	if err != nil {
		return -1, nil, errors.Join(err, parent.Close(), h.Remove(name))
	}
	link := -1
	undo = func() error { // the programs end with the groups
		return errors.Join(below.Close(), parent.Close(), unix.Close(link), h.Remove(name+"/0"), h.Remove(name))
	}
	for _, p := range bpf.Set() {
		fd, err := ebpf.LoadProgram(p.Hook, "idle", []ebpf.Instruction{ebpf.MovImm(ebpf.R0, 1), ebpf.Exit()})
		switch {
		case err != nil && p.Extra:
			continue
		case err != nil:
		case p.Hook.Attach == bpf.LookupHook:
			link, err = ebpf.Link(int(space.Fd()), fd, p.Hook.Attach)
		default:
			err = ebpf.AttachCgroup(parent.FD(), fd, p.Hook.Attach, -1)
		}
		if err != nil {
			return -1, nil, errors.Join(err, undo())
		}
		unix.Close(fd)
	}
	return below.FD(), undo, nil
}

// hookKinds is what is timed, in the order of both.
func hookKinds() []string {
	return []string{"TCP, 1 byte", "UDP, 1 byte", "UDP connected", "sendto", "connect", "socket"}
}

// both has one process play both ends there, and gives the times of hookKinds in µs.
func (e end) both() (out []float64, err error) {
	c, err := e.start(netVariable+"=both all", e.address)
	if err != nil {
		return nil, err
	}
	var said []byte
	err = e.in(func() (err error) {
		said, err = c.Output()
		return err
	})
	for _, f := range strings.Fields(string(said)) {
		v, parseErr := strconv.ParseFloat(f, 64)
		out, err = append(out, v), errors.Join(err, parseErr)
	}
	if err == nil && len(out) != len(hookKinds()) {
		err = fmt.Errorf("said %q", said)
	}
	return out, err
}

// bothEnds times each kind with all sockets in this thread, and prints the least.
func bothEnds(address string) error {
	at := &unix.SockaddrInet4{Addr: netip.MustParseAddr(address).As4()}
	var words []string
	for _, make := range []func(*unix.SockaddrInet4) (func() error, error){
		tripTCP, tripUDP, tripConnected, onlySend, connectAccept, onlySocket,
	} {
		f, err := make(at)
		if err != nil {
			return err
		}
		const batches, each = 150, 100
		best := math.MaxFloat64
		for range batches {
			begin := time.Now()
			for range each {
				if err := f(); err != nil {
					return err
				}
			}
			best = min(best, float64(time.Since(begin).Nanoseconds())/1000/each)
		}
		words = append(words, fmt.Sprint(best))
	}
	fmt.Println(strings.Join(words, " "))
	return nil
}

// bound makes a socket at a port that is free, and gives where it is.
func bound(kind int, at *unix.SockaddrInet4) (int, *unix.SockaddrInet4, error) {
	s, err := unix.Socket(unix.AF_INET, kind, 0)
	if err == nil {
		err = unix.Bind(s, at)
	}
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(s, 64)
	}
	if err != nil {
		return s, nil, err
	}
	name, err := unix.Getsockname(s)
	if err != nil {
		return s, nil, err
	}
	return s, name.(*unix.SockaddrInet4), nil
}

func connected(at *unix.SockaddrInet4) (client, server int, err error) {
	l, to, err := bound(unix.SOCK_STREAM, at)
	if err != nil {
		return -1, -1, err
	}
	defer unix.Close(l)
	if client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err == nil {
		err = unix.Connect(client, to)
	}
	if err != nil {
		return -1, -1, err
	}
	server, _, err = unix.Accept(l)
	for _, s := range []int{client, server} {
		err = errors.Join(err, unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	}
	return client, server, err
}

// trip writes a byte to one socket and reads it from the other, there and back.
func trip(a, c int) func() error {
	b := []byte{0}
	return func() error {
		for _, way := range [][2]int{{a, c}, {c, a}} {
			if _, err := unix.Write(way[0], b); err != nil {
				return err
			}
			if _, err := unix.Read(way[1], b); err != nil {
				return err
			}
		}
		return nil
	}
}

func tripTCP(at *unix.SockaddrInet4) (func() error, error) {
	a, c, err := connected(at)
	return trip(a, c), err
}

func tripUDP(at *unix.SockaddrInet4) (func() error, error) {
	server, to, err := bound(unix.SOCK_DGRAM, at)
	if err != nil {
		return nil, err
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	b := []byte{0}
	return func() error {
		if err := unix.Sendto(client, b, 0, to); err != nil {
			return err
		}
		_, from, err := unix.Recvfrom(server, b, 0)
		if err == nil {
			err = unix.Sendto(server, b, 0, from)
		}
		if err == nil {
			_, _, err = unix.Recvfrom(client, b, 0)
		}
		return err
	}, err
}

func tripConnected(at *unix.SockaddrInet4) (func() error, error) {
	a, here, err := bound(unix.SOCK_DGRAM, at)
	if err != nil {
		return nil, err
	}
	c, there, err := bound(unix.SOCK_DGRAM, at)
	if err != nil {
		return nil, err
	}
	return trip(a, c), errors.Join(unix.Connect(a, there), unix.Connect(c, here))
}

func onlySend(at *unix.SockaddrInet4) (func() error, error) {
	_, to, err := bound(unix.SOCK_DGRAM, at) // nobody reads: what is too much is dropped
	if err != nil {
		return nil, err
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	b := []byte{0}
	return func() error { return unix.Sendto(client, b, 0, to) }, err
}

func connectAccept(at *unix.SockaddrInet4) (func() error, error) {
	l, to, err := bound(unix.SOCK_STREAM, at)
	if err != nil {
		return nil, err
	}
	return func() error {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(c, to); err != nil {
			return err
		}
		s, _, err := unix.Accept(l)
		if err != nil {
			return err
		}
		return errors.Join(unix.Close(s), unix.Close(c))
	}, nil
}

func onlySocket(*unix.SockaddrInet4) (func() error, error) {
	return func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		return unix.Close(s)
	}, nil
}
