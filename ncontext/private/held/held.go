// Package held has guests keep to their rules and rates whose packets do not pass the
// host's filter: those at a bridge, and those beside a link of the host's.
package held

import (
	"fmt"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private/port"
)

// Guest is such a guest.
type Guest struct {
	Spec      *guest.Spec
	Netns     int    // descriptor of its network namespace
	Port      string // the host's end of its link, where it is at a bridge
	Addresses []netip.Addr
}

// Up puts the guest's rules into its own namespace, where it cannot change them, and gives
// its frames their class: at a bridge when they come from its port, beside a link of the
// host's in the namespace too.
func Up(g Guest) error { return g.put(false) }

// Change is Up for a guest that runs.
func Change(g Guest) error { return g.put(true) }

func (g Guest) put(again bool) error {
	n := &g.Spec.Network
	i := firewall.Inside{Rules: n.Firewall}
	class := uint32(0)
	if n.Egress.Asked() {
		class = firewall.Class(g.Spec.XID)
	}
	if n.Link == guest.LinkMacvlan {
		i.Ingress, i.Class = n.Ingress.Rate, class
		if err := g.note(again); err != nil {
			return err
		}
	} else if class != 0 || again {
		if err := port.Classify(g.Port, class); err != nil {
			return err
		}
	}
	// A table of that name in the namespace of a guest that may make such is its own.
	if !i.Asked() && (!again || g.Spec.PassesFilters()) {
		return nil
	}
	return Within(g.Netns, func() error { return firewall.Within(i) })
}

// Within does something in a network namespace, on a thread that ends with it.
func Within(ns int, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := netns.Set(netns.NsHandle(ns)); err != nil {
			done <- fmt.Errorf("enter the guest's network: %w", err)
			return
		}
		done <- do()
	}()
	return <-done
}

// note has the host's table know that a guest beside a link of the host's is shaped.
func (g Guest) note(again bool) error {
	f := firewall.Guest{XID: g.Spec.XID, Addresses: g.Addresses, Shaped: g.Spec.Network.Egress.Asked()}
	switch {
	case again:
		return firewall.Change(f)
	case f.Shaped:
		return firewall.Up(f)
	}
	return nil
}

// Over is the link of the host that the guest's frames leave by without passing the
// host's routing: its bridge, or the link that it is beside; "" for a routed one.
func Over(n *guest.Network) string {
	switch {
	case n.Link == guest.LinkMacvlan:
		return n.Parent
	case n.Link != guest.LinkBridge:
		return ""
	case n.Bridge == "":
		return guest.DefaultBridge
	}
	return n.Bridge
}
