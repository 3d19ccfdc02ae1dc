package shape

import (
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
)

// Check tells whether Up would find a link of the host that somebody has queue in another
// way. Nothing is changed.
func Check(g Guest) error {
	if !g.Egress.Asked() {
		return nil
	}
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	c := &changing{h, g}
	wanted, err := c.uplinks()
	if err != nil {
		return err
	}
	ours, err := c.ours()
	if err != nil {
		return err
	}
	list, err := dump(func() ([]netlink.Qdisc, error) { return h.QdiscList(nil) })
	if err != nil {
		return fmt.Errorf("queueing disciplines: %w", err)
	}
	for _, q := range list {
		// The kernel's default one has no handle.
		if a := q.Attrs(); wanted[a.LinkIndex] && !ours[a.LinkIndex] && a.Parent == netlink.HANDLE_ROOT && a.Handle != 0 {
			return taken(c.name(a.LinkIndex))
		}
	}
	return nil
}
