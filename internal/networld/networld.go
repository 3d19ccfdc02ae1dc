// Package networld makes networks for tests: namespaces, links between them, addresses
// that are there at once. All of it ends with the test. What it is asked and cannot do
// fails the test.
package networld

import (
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/internal/need"
)

// patience is how long the kernel is waited for.
const patience = 10 * time.Second

// Host puts the test's own thread into a network namespace made for it, which has its
// loopback. It skips the test where there can be none.
func Host(t testing.TB) netns.NsHandle {
	t.Helper()
	need.Root(t)
	need.Namespaces(t, syscall.CLONE_NEWNET)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	h := Namespace(t)
	Must(t, netns.Set(h))
	return h
}

// Namespace makes one with its loopback up, and with addresses of IPv6 that are there at
// once: none is looked for elsewhere first.
func Namespace(t testing.TB) (h netns.NsHandle) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, as above
		var err error
		if h, err = netns.New(); err == nil {
			const loopback = 1
			err = netlink.LinkSetUp(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: loopback}})
		}
		done <- err
	}()
	Must(t, <-done)
	t.Cleanup(func() { h.Close() })
	return h
}

// In does something in a namespace, in a thread of its own.
func In(t testing.TB, h netns.NsHandle, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := netns.Set(h); err != nil {
			t.Error(err)
			return
		}
		do()
	}()
	<-done
}

// Pair connects the caller's namespace with another by a veth of these names; the near
// end is in the group.
func Pair(t testing.TB, name, peer string, other netns.NsHandle, group uint32) {
	t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: peer, PeerNamespace: netlink.NsFd(other)}
	veth.Name, veth.Group = name, group
	Must(t, netlink.LinkAdd(veth))
}

// Address gives a link addresses and sets it up.
func Address(t testing.TB, link string, addrs ...string) {
	t.Helper()
	l, err := netlink.LinkByName(link)
	Must(t, err)
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		Must(t, err)
		if addr.IP.To4() == nil {
			addr.Flags = syscall.IFA_F_NODAD
		}
		Must(t, netlink.AddrAdd(l, addr))
	}
	Must(t, netlink.LinkSetUp(l))
}

// Ready waits until the kernel has seen a link's carrier.
func Ready(t testing.TB, link string) {
	t.Helper()
	Until(t, link+" is up", func() bool {
		l, err := netlink.LinkByName(link)
		return err == nil && l.Attrs().OperState == netlink.OperUp
	})
}

// Local waits until the kernel, which takes its time for IPv6, owns to an address.
func Local(t testing.TB, addr string) {
	t.Helper()
	Until(t, addr+" is local", func() bool {
		routes, err := netlink.RouteGet(net.ParseIP(addr))
		return err == nil && len(routes) > 0 && routes[0].Type == syscall.RTN_LOCAL
	})
}

// Until waits until something is so, which must become so in time.
func Until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("not in time: %s", what)
			return
		}
	}
}

// Must fails the test with an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
