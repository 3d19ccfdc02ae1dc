package shape

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/ns"
)

// Guest is what is asked for one guest.
type Guest struct {
	XID       guest.XID
	Addresses []netip.Addr
	Table     int    // routing table of its own, 0 for none
	Link      string // host's end of its own link, "" when it has none
	Over      string // bridge that it is at, or link of the host that it is beside; "" for neither
	Egress    guest.Egress
	Ingress   guest.Rate // only with Link
}

const (
	// major numbers our disciplines: "vs" in ASCII. Package firewall puts it into packets.
	major = 0x7673
	// linkClass and hostClass are below the least and above the greatest number of a
	// guest.
	linkClass = 1
	hostClass = 0xfffe
	// fast is the rate of a link that nobody told us, in bits a second: more than any.
	fast = 1_000_000_000_000
	// least is what a guest without a reservation is sure of, in bits a second: a bucket
	// cannot be without a rate.
	least = 8000
	// hostShare is the share of the host.
	hostShare = 100
	// quantum is what a share of 1 may send in its turn, in bytes. Shares hold for
	// packets that are smaller than a turn: with the default share of 10 these are all
	// (64 KiB, as the kernel hands them to devices).
	quantum = 6600
	// group is that of the host's ends of guests' links, as package private sets it.
	group = 0x7673
	// portGroup is that of guests' ports of bridges.
	portGroup = 0x7674
)

// Up shapes what a guest sends, and what it is sent on a link of its own, whatever was
// set before. It does nothing for a guest that asks for nothing.
func Up(g Guest) error {
	if !g.Egress.Asked() && (g.Ingress == 0 || g.Link == "") {
		return nil
	}
	return change(g)
}

// Change is Up for a guest that had something before and may ask for nothing now.
func Change(g Guest) error { return change(g) }

// Down ends the shaping of a guest, and gives links back their default discipline that
// no guest is shaped on any more. It succeeds when there is nothing.
func Down(xid guest.XID) error { return change(Guest{XID: xid}) }

func change(g Guest) error {
	unlock, err := ns.LockNet()
	if err != nil {
		return err
	}
	defer unlock()
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	c := &changing{h, g}
	wanted := map[int]bool{}
	if g.Egress.Asked() {
		if wanted, err = c.uplinks(); err != nil {
			return err
		}
	}
	for index := range wanted {
		if err := c.egress(index); err != nil {
			return err
		}
	}
	if g.Link != "" {
		index, err := c.ingress()
		if err != nil {
			return err
		}
		wanted[index] = true
	}
	return c.sweep(wanted)
}

type changing struct {
	h *netlink.Handle
	Guest
}

// uplinks are the links by which packets of the guest can leave the host.
func (c *changing) uplinks() (map[int]bool, error) {
	out := map[int]bool{}
	for _, table := range []int{syscall.RT_TABLE_MAIN, c.Table} {
		if table == 0 {
			continue
		}
		routes, err := dump(func() ([]netlink.Route, error) {
			return c.h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
		for _, r := range routes {
			if c.leavesBy(r) {
				out[r.LinkIndex] = true
			}
			for _, hop := range r.MultiPath {
				out[hop.LinkIndex] = true
			}
		}
	}
	if err := c.past(out); err != nil {
		return nil, err
	}
	for index := range out {
		l, err := c.h.LinkByIndex(index)
		if err != nil || l.Attrs().Group == group || l.Type() == "dummy" || l.Attrs().Name == "lo" {
			delete(out, index) // gone meanwhile, or leads nowhere
		}
	}
	return out, nil
}

// past adds the links by which frames of the guest leave without being routed: those of
// the host at its bridge, whose own queue sees nothing of them, or the one that it is
// beside.
func (c *changing) past(out map[int]bool) error {
	if c.Over == "" {
		return nil
	}
	over, err := c.h.LinkByName(c.Over)
	if err != nil {
		return fmt.Errorf("link %s: %w", c.Over, err)
	}
	index := over.Attrs().Index
	if over.Type() != "bridge" || c.Link == "" {
		out[index] = true
		return nil
	}
	delete(out, index)
	all, err := dump(c.h.LinkList)
	if err != nil {
		return fmt.Errorf("links: %w", err)
	}
	for _, l := range all {
		if l.Attrs().MasterIndex == index && l.Attrs().Group != portGroup {
			out[l.Attrs().Index] = true
		}
	}
	return nil
}

// leavesBy tells whether a route leads to a router, or to neighbours of the guest.
func (c *changing) leavesBy(r netlink.Route) bool {
	switch {
	case r.LinkIndex == 0 || r.Type != syscall.RTN_UNICAST:
		return false
	case r.Gw != nil || r.Via != nil || r.Dst == nil:
		return true
	}
	for _, a := range c.Addresses {
		ones, bits := r.Dst.Mask.Size()
		if ones == 0 || ones < bits && r.Dst.Contains(a.AsSlice()) {
			return true
		}
	}
	return false
}

// egress gives the guest its class on a link, and the link its discipline before.
func (c *changing) egress(index int) error {
	if err := c.root(index, hostClass); err != nil {
		return err
	}
	if err := c.class(index, netlink.HANDLE_ROOT, linkClass, guest.Egress{Rate: fast, Reserved: fast}); err != nil {
		return err
	}
	for minor, e := range map[uint16]guest.Egress{hostClass: {Share: hostShare}, uint16(c.XID): c.Egress} {
		if err := c.class(index, linkClass, minor, e); err != nil {
			return err
		}
	}
	return nil
}

// ingress queues what the guest is sent on its own link.
func (c *changing) ingress() (int, error) {
	l, err := c.h.LinkByName(c.Link)
	if err != nil {
		return 0, fmt.Errorf("link %s: %w", c.Link, err)
	}
	index := l.Attrs().Index
	ours, err := c.ours()
	if err != nil {
		return 0, err
	}
	if c.Ingress == 0 {
		if ours[index] {
			err = c.reset(index)
		}
		return index, err
	}
	if err := c.root(index, uint16(c.XID)); err != nil {
		return 0, err
	}
	return index, c.class(index, netlink.HANDLE_ROOT, uint16(c.XID), guest.Egress{Rate: c.Ingress, Reserved: c.Ingress})
}

// root makes our discipline the link's, unless it is.
func (c *changing) root(index int, fallback uint16) error {
	ours, err := c.ours()
	if err != nil || ours[index] {
		return err
	}
	q := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(major, 0), Parent: netlink.HANDLE_ROOT})
	q.Defcls = uint32(fallback)
	err = c.h.QdiscAdd(q) // never replaces one that somebody has set
	if err == nil {
		return nil
	}
	name := c.name(index)
	switch {
	case errors.Is(err, syscall.EEXIST):
		return taken(name)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EOPNOTSUPP):
		return fault.Hint(fmt.Errorf("link %s: %w: %w", name, err, guest.ErrUnsupported),
			"rates need the kernel's token buckets (CONFIG_NET_SCH_HTB); see `modprobe sch_htb`")
	}
	return fmt.Errorf("link %s: queueing discipline: %w", name, err)
}

// name is a link's, or its number.
func (c *changing) name(index int) string {
	l, err := c.h.LinkByIndex(index)
	if err != nil {
		return fmt.Sprint(index)
	}
	return l.Attrs().Name
}

// taken is the error for a link that somebody has queue in another way.
func taken(name string) error {
	return fault.Hint(fmt.Errorf("link %s: has a queueing discipline of its own: %w", name, guest.ErrBusy),
		"see `tc qdisc show dev "+name+"`; `tc qdisc del dev "+name+" root` takes it away")
}

// class makes or changes a class below another.
func (c *changing) class(index int, parent uint32, minor uint16, e guest.Egress) error {
	if parent != netlink.HANDLE_ROOT {
		parent = netlink.MakeHandle(major, uint16(parent))
	} else {
		parent = netlink.MakeHandle(major, 0)
	}
	attrs := netlink.ClassAttrs{LinkIndex: index, Parent: parent, Handle: netlink.MakeHandle(major, minor)}
	if e.Share == 0 {
		e.Share = guest.DefaultShare
	}
	if e.Rate == 0 {
		e.Rate = fast
	}
	rate, ceil := max(e.Reserved, least), e.Rate
	class := netlink.NewHtbClass(attrs, netlink.HtbClassAttrs{
		Rate: uint64(rate), Ceil: uint64(ceil), Buffer: burst(rate), Cbuffer: burst(ceil), Quantum: uint32(e.Share) * quantum,
	})
	if err := c.forget(index, class); err != nil {
		return err
	}
	if err := c.h.ClassReplace(class); err != nil {
		return fmt.Errorf("class %s: %w", netlink.HandleStr(attrs.Handle), err)
	}
	if minor == linkClass {
		return nil
	}
	// A queue that keeps connections apart and short, as the host had; a kernel without
	// it has a plain one there.
	q := netlink.NewFqCodel(netlink.QdiscAttrs{LinkIndex: index, Parent: attrs.Handle, Handle: 0})
	if err := c.h.QdiscAdd(q); err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EEXIST) &&
		!errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("queue of class %s: %w", netlink.HandleStr(attrs.Handle), err)
	}
	return nil
}

// forget removes a class that had another reservation: it may owe up to a minute of
// that, which a change leaves it. Packets that wait there are lost.
func (c *changing) forget(index int, class *netlink.HtbClass) error {
	list, err := c.classes(index)
	if err != nil {
		return err
	}
	for _, old := range list {
		if old, ok := old.(*netlink.HtbClass); ok && old.Handle == class.Handle && class.Handle != netlink.MakeHandle(major, linkClass) && old.Rate != class.Rate {
			return c.h.ClassDel(old)
		}
	}
	return nil
}

func (c *changing) classes(index int) ([]netlink.Class, error) {
	list, err := dump(func() ([]netlink.Class, error) { return c.h.ClassList(byIndex(index), netlink.HANDLE_NONE) })
	if err != nil {
		return nil, fmt.Errorf("classes of link %d: %w", index, err)
	}
	return list, nil
}

// burst is what a bucket of a rate holds, in bytes: what the rate makes of 20 ms, so
// that a reservation is not lost while the machine does something else, and at least
// some packets.
func burst(rate guest.Rate) uint32 { return uint32(max(rate/8/50, 16<<10)) }

// sweep removes the guest's classes from links that are not wanted, and from these
// our discipline when it was the last.
func (c *changing) sweep(wanted map[int]bool) error {
	ours, err := c.ours()
	if err != nil {
		return err
	}
	for index := range ours {
		if wanted[index] {
			continue
		}
		classes, err := c.classes(index)
		if err != nil {
			return err
		}
		var mine netlink.Class
		others := 0
		for _, class := range classes {
			switch maj, minor := netlink.MajorMinor(class.Attrs().Handle); {
			case maj != major || minor == linkClass || minor == hostClass:
			case minor == uint16(c.XID):
				mine = class
			default:
				others++
			}
		}
		switch {
		case mine == nil && others > 0:
		case others == 0:
			err = c.reset(index)
		default:
			err = c.h.ClassDel(mine)
		}
		if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENODEV) {
			return fmt.Errorf("link %d: end of shaping: %w", index, err)
		}
	}
	return nil
}

// reset gives a link its default discipline back.
func (c *changing) reset(index int) error {
	return c.h.QdiscDel(netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(major, 0), Parent: netlink.HANDLE_ROOT}))
}

// ours are the links that have our discipline.
func (c *changing) ours() (map[int]bool, error) {
	list, err := dump(func() ([]netlink.Qdisc, error) { return c.h.QdiscList(nil) })
	if err != nil {
		return nil, fmt.Errorf("queueing disciplines: %w", err)
	}
	out := map[int]bool{}
	for _, q := range list {
		if a := q.Attrs(); q.Type() == "htb" && a.Parent == netlink.HANDLE_ROOT && a.Handle == netlink.MakeHandle(major, 0) {
			out[a.LinkIndex] = true
		}
	}
	return out, nil
}

// byIndex names a link by its number.
func byIndex(index int) netlink.Link {
	return &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

// dump asks again when the kernel says that its answer changed under it.
func dump[T any](ask func() ([]T, error)) (list []T, err error) {
	for range 20 {
		if list, err = ask(); !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	return list, err
}
