// Package threats_test tries, as root of guests in the host's network stack, every way
// out of it that is known, and sees each one closed: one by one against the table of
// what the kernel must answer, and as all combinations of sockets, calls and addresses
// against the packets that really leave and arrive.
//
// The host is a network namespace made for the test, with a machine on its link in
// another:
//
//	outside eth 198.51.100.2/24 2001:db8::2/64 --- eth0 198.51.100.1/24 2001:db8::1/64 host and guests
package threats_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/internal/threats/probe"
	"vserver/internal/threats/probe/answer"
	"vserver/kernel/cgroup"
	"vserver/ncontext/shared"
	"vserver/store"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == probe.Name {
		os.Exit(probe.Main(os.Args[1:], os.Stdin, os.Stdout))
	}
	need.Main(m)
}

// Ports and names that the sides serve under.
const (
	hostPort, hostOnly = 6001, 6002
	nearPort, nearOnly = 6003, 6004
	outPort            = 6005
	sharedPort         = 6006
	abstract           = "vserver-threats-host"
	idle               = "onlyhost"
)

// world is a host with guests in its network, a machine on its link, and a neighbour.
type world struct {
	t             testing.TB
	root, bin     string
	dirs          guest.Dirs
	host, outside netns.NsHandle
}

// newWorld gives a host that serves, without guests.
func newWorld(t *testing.T) *world {
	t.Helper()
	need.Root(t)
	need.Overlay(t)
	need.Cgroup2(t)
	need.Namespaces(t, syscall.CLONE_NEWNET)
	root := need.TempDir(t)
	w := &world{t: t, root: root, bin: need.Binary(t), dirs: guest.DefaultDirs(root)}
	w.outside, w.host = w.namespace(), w.namespace()
	t.Cleanup(w.end)
	w.links()
	w.box()
	w.serve(w.host, "host", hostPort, hostOnly)
	w.serve(w.outside, "out", outPort, 0)
	w.share()
	return w
}

// box makes the image of the guests: busybox and the program that tries.
func (w *world) box() {
	image := filepath.Join(w.dirs.Pool(), "images", "box", "tree")
	must(w.t, os.MkdirAll(filepath.Dir(image), 0o700))
	need.Busybox(w.t, image)
	self, err := os.Executable()
	must(w.t, err)
	program, err := os.ReadFile(self)
	must(w.t, err)
	must(w.t, os.WriteFile(filepath.Join(image, "bin", probe.Name), program, 0o755))
}

// namespace makes one, with its loopback up.
func (w *world) namespace() (h netns.NsHandle) {
	w.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the function
		var err error
		if h, err = netns.New(); err == nil {
			err = netlink.LinkSetUp(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: 1}})
		}
		for _, conf := range []string{"all", "default"} {
			err = errors.Join(err, os.WriteFile("/proc/sys/net/ipv6/conf/"+conf+"/dad_transmits", []byte("0"), 0))
		}
		done <- err
	}()
	must(w.t, <-done)
	w.t.Cleanup(func() { h.Close() })
	return h
}

// in does something in a namespace; what is opened or started there stays there.
func (w *world) in(h netns.NsHandle, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, as above
		err := netns.Set(h)
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// links makes the cable between the two, with addresses, and waits for the carrier.
func (w *world) links() {
	w.t.Helper()
	must(w.t, w.in(w.host, func() error {
		eth0 := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth", PeerNamespace: netlink.NsFd(w.outside)}
		eth0.Name, eth0.Index = "eth0", 2 // the number that the program which tries knows
		if err := netlink.LinkAdd(eth0); err != nil {
			return err
		}
		bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
		bridge.Name = idle
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		return address("eth0", "198.51.100.1/24", "2001:db8::1/64")
	}))
	must(w.t, w.in(w.outside, func() error { return address("eth", "198.51.100.2/24", "2001:db8::2/64") }))
	must(w.t, w.in(w.host, func() error {
		eventually(w.t, func() bool {
			l, err := netlink.LinkByName("eth0")
			return err == nil && l.Attrs().OperState == netlink.OperUp
		})
		for dst, gw := range map[string]string{"0.0.0.0/0": "198.51.100.2", "::/0": "2001:db8::2"} {
			_, all, err := net.ParseCIDR(dst)
			must(w.t, err)
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: 2, Dst: all, Gw: net.ParseIP(gw)}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// address gives a link addresses and sets it up.
func address(link string, addrs ...string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		p := netip.MustParsePrefix(a)
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			addr.Flags = syscall.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

// serve has somebody answer in a namespace.
func (w *world) serve(h netns.NsHandle, who string, any, only int) {
	w.t.Helper()
	must(w.t, w.in(h, func() error {
		s, err := answer.Serve(who, any, only)
		if err == nil {
			w.t.Cleanup(func() { s.Close() })
		}
		return err
	}))
}

// share opens the host's sockets that a guest might take: by a port that can be
// shared, and by a name of no file.
func (w *world) share() {
	w.t.Helper()
	keep := func(c io.Closer, err error) error {
		if err == nil {
			w.t.Cleanup(func() { c.Close() })
		}
		return err
	}
	reuse := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		const soReusePort = 15
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soReusePort, 1) })
	}}
	must(w.t, w.in(w.host, func() error {
		tcp, err := reuse.Listen(w.t.Context(), "tcp4", "0.0.0.0:6006")
		udp, err2 := reuse.ListenPacket(w.t.Context(), "udp4", "0.0.0.0:6006")
		stream, err3 := net.Listen("unix", "@"+abstract+"tcp")
		datagram, err4 := net.ListenPacket("unixgram", "@"+abstract+"udp")
		return errors.Join(keep(tcp, err), keep(udp, err2), keep(stream, err3), keep(datagram, err4))
	}))
}

// guest makes and starts a guest with these addresses and flags.
func (w *world) guest(n guest.Name, xid guest.XID, flags []string, addrs ...string) {
	w.t.Helper()
	spec := guest.Spec{XID: xid, Root: guest.Root{Lower: []string{"box"}},
		Network: guest.Network{Mode: guest.NetShared, Flags: flags},
		Init:    guest.Init{Style: guest.InitCommand, Command: []string{"/bin/sleep", "100000"}, StopTimeout: guest.Duration(time.Second)}}
	for _, a := range addrs {
		parsed, err := guest.ParseAddress(a)
		must(w.t, err)
		spec.Network.Addresses = append(spec.Network.Addresses, parsed)
	}
	for _, dir := range []string{"upper", "work"} {
		path := filepath.Join(w.dirs.Guest(n), dir)
		must(w.t, os.MkdirAll(path, 0o755))
		must(w.t, os.Chown(path, int(xid)<<16, int(xid)<<16))
	}
	must(w.t, os.MkdirAll(w.dirs.Config, 0o755))
	must(w.t, store.Write(w.dirs.Spec(n), &spec))
	w.do("start", string(n))
	w.t.Cleanup(func() { w.do("stop", string(n), "--kill") })
}

// end takes down what no guest's stop does.
func (w *world) end() {
	if err := w.in(w.host, func() error { return errors.Join(proto.Quit(w.dirs), shared.Detach(w.dirs)) }); err != nil {
		w.t.Error(err)
	}
	if cg, err := cgroup.Find(); err == nil {
		err = cg.Remove(w.dirs.Cgroup)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Error(err)
		}
	}
}

// command prepares the program.
func (w *world) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(context.WithoutCancel(w.t.Context()), w.bin, args...)
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	c.WaitDelay = 5 * time.Second
	return c
}

// do runs the program on the host, which must succeed.
func (w *world) do(args ...string) string {
	w.t.Helper()
	var out, errs bytes.Buffer
	c := w.command(args...)
	c.Stdout, c.Stderr = &out, &errs
	err := w.in(w.host, c.Start)
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		w.t.Fatalf("vserver %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

// begin runs a part of the program that tries in a guest, and gives what it says.
func (w *world) begin(n guest.Name, part string, ground *probe.Ground) (in io.WriteCloser, out io.Reader, wait func() error) {
	w.t.Helper()
	words, err := json.Marshal(ground)
	must(w.t, err)
	c := w.command("exec", string(n), "/bin/"+probe.Name, part, string(words))
	c.Stderr = os.Stderr
	in, err = c.StdinPipe()
	must(w.t, err)
	out, err = c.StdoutPipe()
	must(w.t, err)
	must(w.t, w.in(w.host, c.Start))
	return in, out, c.Wait
}

// neighbour has a guest serve for itself and for others until the test ends.
func (w *world) neighbour(g *probe.Ground) {
	w.t.Helper()
	w.guest("near", 101, nil, "198.51.100.11/24 dev eth0", "2001:db8::11/64 dev eth0")
	in, out, wait := w.begin("near", "serve", g)
	word := make([]byte, len("ready"))
	if _, err := io.ReadFull(out, word); err != nil || string(word) != "ready" {
		w.t.Fatalf("the neighbour says %q, %v", word, err)
	}
	w.t.Cleanup(func() {
		in.Close()
		if err := wait(); err != nil {
			w.t.Errorf("the neighbour: %v", err)
		}
	})
}

// ground is what all guests are told; own ones are added.
func ground() *probe.Ground {
	return &probe.Ground{
		Host4: "198.51.100.1", Host6: "2001:db8::1", Near4: "198.51.100.11", Near6: "2001:db8::11", NearLback: "127.0.101.1",
		Out4: "198.51.100.2", Out6: "2001:db8::2", HostPort: hostPort, HostOnly: hostOnly, NearPort: nearPort, NearOnly: nearOnly,
		OutPort: outPort, Shared: sharedPort, Socket: abstract, Link: idle,
	}
}

// eventually waits for what the kernel does in its own time.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in half a minute")
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
