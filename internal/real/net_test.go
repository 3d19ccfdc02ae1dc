package real_test

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// gateway is the host's own address in the network of a world.
const gateway = "198.51.100.1"

// ownNet gives the world a network of its own: a namespace with one link that leads nowhere, and the addresses of TEST-NET-2.
func (w *world) ownNet() {
	w.t.Helper()
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the function
		var err error
		if w.net, err = netns.New(); err == nil {
			err = links()
		}
		made <- err
	}()
	if err := <-made; err != nil {
		w.t.Fatal(err)
	}
}

func links() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "up0"
	up := &netlink.Veth{LinkAttrs: attrs, PeerName: "up1"}
	peer := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up1"}}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(gateway).To4(), Mask: net.CIDRMask(24, 32)}}
	for _, do := range []func() error{
		func() error { return netlink.LinkSetUp(lo) },
		func() error { return netlink.LinkAdd(up) },
		func() error { return netlink.AddrAdd(up, addr) },
		func() error { return netlink.LinkSetUp(up) },
		func() error { return netlink.LinkSetUp(peer) },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// inNet does something in the world's network. What is opened or started there stays
// there.
func (w *world) inNet(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, as above
		err := netns.Set(w.net)
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// proxy is where guests of the world get their packages from: an HTTP proxy on the
// host's address. The network of a world leads nowhere else. Packages are kept for the
// next run.
func (w *world) proxy() (url string) {
	w.t.Helper()
	var at net.Listener
	err := w.inNet(func() (err error) {
		at, err = net.Listen("tcp", net.JoinHostPort(gateway, "3142"))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: mirror{filepath.Join(kept(w.t), "packages")}, ReadHeaderTimeout: time.Minute}
	go server.Serve(at)
	w.t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return "http://" + at.Addr().String()
}

// mirror hands requests on, and keeps packages in its directory.
type mirror struct{ dir string }

func (m mirror) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	keep := ""
	if path.Ext(in.URL.Path) == ".deb" {
		keep = filepath.Join(m.dir, path.Base(in.URL.Path))
		if f, err := os.Open(keep); err == nil {
			defer f.Close()
			io.Copy(out, f)
			return
		}
	}
	ask, err := http.NewRequestWithContext(in.Context(), in.Method, in.URL.String(), nil)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	for _, h := range []string{"If-Modified-Since", "Range", "If-Range"} {
		if v := in.Header.Get(h); v != "" && keep == "" {
			ask.Header.Set(h, v)
		}
	}
	got, err := http.DefaultTransport.RoundTrip(ask)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadGateway)
		return
	}
	defer got.Body.Close()
	for k, v := range got.Header {
		out.Header()[k] = v
	}
	out.WriteHeader(got.StatusCode)
	if keep == "" || got.StatusCode != http.StatusOK {
		io.Copy(out, got.Body)
		return
	}
	m.store(keep, got, out)
}

// store hands a package on and keeps it when it came whole.
func (m mirror) store(keep string, got *http.Response, out io.Writer) {
	os.MkdirAll(m.dir, 0o700)
	f, err := os.CreateTemp(m.dir, ".new-")
	if err != nil {
		io.Copy(out, got.Body)
		return
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(io.MultiWriter(out, f), got.Body)
	if f.Close() == nil && err == nil && n == got.ContentLength {
		os.Rename(f.Name(), keep)
	}
}

// address gives the n-th address of a world's network.
func address(n byte) string { return netip.AddrFrom4([4]byte{198, 51, 100, n}).String() }

// reach makes a connection to a guest from its host.
func (w *world) reach(t testing.TB, addr string) (c net.Conn, err error) {
	t.Helper()
	err = w.inNet(func() error {
		c, err = net.DialTimeout("tcp", addr, 15*time.Second)
		return err
	})
	return c, err
}

// address gives the host a further address of its network.
func (w *world) address(prefix string) {
	w.t.Helper()
	err := w.inNet(func() error {
		up, err := netlink.LinkByName("up0")
		if err != nil {
			return err
		}
		p := netip.MustParsePrefix(prefix)
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			addr.Flags = syscall.IFA_F_NODAD
		}
		return netlink.AddrAdd(up, addr)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
