package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/ncontext/shared"
)

// contextAddresses are the host's and two guests' in the namespaces of the table
// context. They are on lo, as all ends of it are on one machine.
func contextAddresses() [3]string { return [3]string{"10.9.0.1", "10.9.0.2", "10.9.0.3"} }

// context times sockets in network contexts beside sockets in a namespace that knows
// none, both ends on one processor.
func (b *bench) context() (err error) {
	runtime.LockOSThread() // and never unlocked: its namespace ends with it
	if err := loopbackOnly(); err != nil {
		return err
	}
	plain, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer plain.Close()
	if err := loopbackOnly(); err != nil {
		return err
	}
	segmented, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer segmented.Close()
	groups, undo, err := b.contexts()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undo()) }()
	host := end{segmented, -1, contextAddresses()[0]}
	a, c := end{segmented, groups[0], contextAddresses()[1]}, end{segmented, groups[1], contextAddresses()[2]}
	pairs := []pair{
		{"no contexts", end{plain, -1, contextAddresses()[0]}, end{plain, -1, contextAddresses()[0]}},
		{"host beside contexts", host, host},
		{"host to guest", host, a},
		{"guest to host", a, host},
		{"guest to guest", a, c},
		{"guest to itself at 127.0.0.1", a, end{segmented, groups[0], "127.0.0.1"}},
	}
	for _, m := range []struct {
		kind, unit string
	}{
		{"tcp", "1-byte TCP round trip, µs"}, {"udp", "1-byte UDP round trip, µs"},
		{"stream", "TCP, µs for a MiB"}, {"connect", "connect, accept, close, µs"}, {"sendto", "UDP sendto, µs"},
	} {
		if err := b.exchange(m.kind, m.unit, pairs); err != nil {
			return err
		}
	}
	return nil
}

// end is where a process of a measurement lives.
type end struct {
	netns   *os.File
	group   int // descriptor of its cgroup, or -1
	address string
}

type pair struct {
	name           string
	client, server end
}

// exchange makes the table of one kind of traffic.
func (b *bench) exchange(kind, unit string, pairs []pair) error {
	rounds := max(5, b.rounds/3)
	times := make([][]float64, len(pairs))
	for r := range 1 + rounds {
		for i, p := range pairs {
			d, err := measure(kind, p)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", kind, p.name, err)
			}
			if r > 0 {
				times[i] = append(times[i], d)
			}
		}
	}
	fmt.Printf("  %-34s %8s %8s %7s   (%d rounds in turn)\n", unit, "min", "median", "ratio", rounds)
	for i, p := range pairs {
		// The ratio is the median of those of the rounds: they are near in time.
		fmt.Printf("  %-34s %8.2f %8.2f %7.3f\n", p.name, slices.Min(times[i]), ratios(times[i], nil), ratios(times[i], times[0]))
	}
	return nil
}

// measure runs both ends and gives what the client says, in µs.
func measure(kind string, p pair) (float64, error) {
	server, err := p.server.start(netVariable+"=serve "+kind, p.server.address)
	if err != nil {
		return 0, err
	}
	out, err := server.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := p.server.in(server.Start); err != nil {
		return 0, err
	}
	defer server.Wait()
	defer server.Process.Kill()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		return 0, fmt.Errorf("server: %w", err)
	}
	client, err := p.client.start(netVariable+"=use "+kind, p.server.address)
	if err != nil {
		return 0, err
	}
	var said []byte
	err = p.client.in(func() (err error) {
		said, err = client.Output()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("client: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(said)), 64)
}

// start prepares this program as one end.
func (e end) start(what, address string) (*exec.Cmd, error) {
	c := exec.Command("/proc/self/exe")
	c.Env = []string{what + " " + address}
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: e.group >= 0, CgroupFD: e.group, Pdeathsig: syscall.SIGKILL}
	return c, nil
}

// in calls f in the end's network namespace.
func (e end) in(f func() error) error {
	if err := unix.Setns(int(e.netns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return f()
}

// loopbackOnly puts the thread into a new namespace with the addresses on lo.
func loopbackOnly() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := run("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	for _, a := range contextAddresses() {
		if err := run("ip", "address", "add", a+"/32", "dev", "lo"); err != nil {
			return err
		}
	}
	return nil
}

// contextDirs is the world of the guests' contexts that contexts makes.
func (b *bench) contextDirs() guest.Dirs { return guest.DefaultDirs(b.work + "/context") }

// contexts makes two guests' contexts in the thread's namespace, and times that.
func (b *bench) contexts() (groups [2]int, undo func() error, err error) {
	d := b.contextDirs()
	h, err := cgroup.Find()
	if err != nil {
		return groups, nil, err
	}
	parent, err := h.Create(d.Cgroup)
	if err != nil {
		return groups, nil, err
	}
	begin := time.Now()
	set, err := shared.Attach(d, nil)
	if err != nil {
		return groups, nil, err
	}
	fmt.Printf("  first Attach %v\n", time.Since(begin).Round(time.Microsecond))
	undo = func() error {
		err := errors.Join(set.Close(), shared.Detach(d))
		for i := range groups {
			err = errors.Join(err, unix.Close(groups[i]), h.Remove(fmt.Sprintf("%s/%d", d.Cgroup, i)))
		}
		return errors.Join(err, parent.Close(), h.Remove(d.Cgroup))
	}
	var attach, put []time.Duration
	for i := range groups {
		g, err := h.Create(fmt.Sprintf("%s/%d", d.Cgroup, i))
		if err != nil {
			return groups, undo, err
		}
		groups[i] = g.FD()
		var st unix.Stat_t
		if err := unix.Fstat(g.FD(), &st); err != nil {
			return groups, undo, err
		}
		c := &shared.Context{
			Addresses: []shared.Address{{Prefix: netip.MustParsePrefix(contextAddresses()[1+i] + "/32")}},
			Lback:     netip.AddrFrom4([4]byte{127, 0, byte(8 + i), 1}), Remap: true, HideLback: true,
		}
		for range 200 {
			begin := time.Now()
			again, err := shared.Attach(d, nil)
			if err != nil {
				return groups, undo, err
			}
			middle := time.Now()
			if err := again.Put(st.Ino, c); err != nil {
				return groups, undo, err
			}
			put = append(put, time.Since(middle))
			attach = append(attach, middle.Sub(begin))
			again.Close()
		}
	}
	fmt.Printf("  Attach again %v, Put %v (medians of %d)\n", quantile(attach, 0.5), quantile(put, 0.5), len(put))
	return groups, undo, nil
}

// ratios gives the median of the times, each divided by the other's of its round.
func ratios(times, by []float64) float64 {
	out := slices.Clone(times)
	for i := range by {
		out[i] /= by[i]
	}
	slices.Sort(out)
	return out[len(out)/2]
}
