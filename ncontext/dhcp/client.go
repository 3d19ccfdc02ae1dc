package dhcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"vserver/kernel/packet"
)

// Client keeps a lease for a guest.
type Client struct {
	Asker
	// Link is the number of the guest's link in its namespace.
	Link int
	// Have is the address that the link has already, which is asked for.
	Have netip.Addr
	// Take gives the link what a lease says, in the place of the one before; nil says
	// that there is none any more.
	Take func(*Lease) error
	// Say is told what goes wrong, once each time.
	Say func(format string, args ...any)

	socket *packet.Socket
	said   string
}

// Open opens the socket, in the network namespace of the calling thread, for Run. The
// client is closed by Run.
func (c *Client) Open() (err error) {
	c.socket, err = packet.Open(c.Link, packet.IP, packet.UDP(clientPort))
	return err
}

// The waits of RFC 2131, section 4.1: doubled from the first to the last, each give or
// take a quarter (there a second).
const (
	firstWait = 1 * time.Second // 4 s there: networks are faster now
	lastWait  = 64 * time.Second
)

// Run asks for a lease and keeps it until ctx ends. The guest's link may come and go
// meanwhile; what is wrong is told and tried again.
func (c *Client) Run(ctx context.Context) {
	defer c.socket.Close()
	defer context.AfterFunc(ctx, func() { c.socket.Close() })()
	wait := firstWait
	for ctx.Err() == nil {
		lease, err := c.obtain(ctx)
		if err == nil {
			err = c.Take(lease)
		}
		if err != nil {
			c.complain(ctx, err)
			sleep(ctx, jitter(wait))
			wait = min(2*wait, lastWait)
			continue
		}
		wait, c.said = firstWait, ""
		c.keep(ctx, lease)
	}
}

func (c *Client) complain(ctx context.Context, err error) {
	if text := err.Error(); ctx.Err() == nil && text != c.said {
		c.said = text
		c.Say("%v", err)
	}
}

// obtain gets a lease: the one that the link has, if it may keep it, or another.
func (c *Client) obtain(ctx context.Context) (*Lease, error) {
	if have := c.Have; have.IsValid() {
		c.Have = netip.Addr{}
		m, err := c.again(have, false)
		if err != nil {
			return nil, err
		}
		lease, err := c.ask(ctx, m, 2)
		if err == nil && lease.Prefix.Addr() == have {
			return lease, nil
		}
		if err := c.Take(nil); err != nil {
			return nil, err
		}
	}
	m, err := c.discover(netip.Addr{})
	if err != nil {
		return nil, err
	}
	offer, _, err := c.exchange(ctx, m, 4, dhcpv4.MessageTypeOffer)
	if err != nil {
		return nil, err
	}
	if m, err = c.request(offer); err != nil {
		return nil, err
	}
	return c.ask(ctx, m, 3)
}

// keep renews a lease until it cannot be, and then gives it up.
func (c *Client) keep(ctx context.Context, l *Lease) {
	for {
		sleep(ctx, time.Until(l.Renew))
		if ctx.Err() != nil {
			return
		}
		m, err := c.again(l.Prefix.Addr(), true)
		if err != nil {
			c.complain(ctx, err)
			return
		}
		next, err := c.ask(ctx, m, 3)
		switch {
		case err == nil && next.Prefix.Addr() == l.Prefix.Addr():
			if err := c.Take(next); err != nil {
				c.complain(ctx, err)
			}
			l = next
			continue
		case ctx.Err() != nil:
			return
		case err == nil, errors.Is(err, errRefused), time.Now().After(l.Until):
			if err == nil {
				err = fmt.Errorf("dhcp: the server gives %s: %w", next.Prefix, errRefused)
			}
			c.complain(ctx, fmt.Errorf("address %s is lost: %w", l.Prefix.Addr(), err))
			if err := c.Take(nil); err != nil {
				c.complain(ctx, err)
			}
			return
		}
		// RFC 2131, 4.4.5: wait for half of what is left, at least a minute; but not
		// beyond the end.
		left := time.Until(l.Until)
		l.Renew = time.Now().Add(min(max(left/2, min(time.Minute, left/2+time.Second)), left))
	}
}

// ask sends a request and gives the lease that a server grants.
func (c *Client) ask(ctx context.Context, m *dhcpv4.DHCPv4, tries int) (*Lease, error) {
	answer, asked, err := c.exchange(ctx, m, tries, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak)
	if err != nil {
		return nil, err
	}
	if answer.MessageType() == dhcpv4.MessageTypeNak {
		return nil, fmt.Errorf("dhcp: %w", errRefused)
	}
	return leaseOf(answer, asked)
}

// exchange sends a message until somebody answers with one of the types. It gives the
// answer and when it was asked for.
func (c *Client) exchange(ctx context.Context, m *dhcpv4.DHCPv4, tries int, types ...dhcpv4.MessageType) (*dhcpv4.DHCPv4, time.Time, error) {
	wait := firstWait
	began := time.Now()
	for range tries {
		asked := time.Now()
		m.NumSeconds = uint16(min(asked.Sub(began)/time.Second, 65535))
		if err := c.socket.Send(packet.IP, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, frame(m)); err != nil {
			return nil, asked, fmt.Errorf("dhcp: %w", err)
		}
		answer, err := c.await(ctx, m, asked.Add(jitter(wait)), types)
		if answer != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, asked, err
		}
		wait = min(2*wait, lastWait)
	}
	return nil, began, fmt.Errorf("dhcp: no server answers: %w", os.ErrDeadlineExceeded)
}

// await receives the answer to a message. Packets that are none are passed over.
func (c *Client) await(ctx context.Context, m *dhcpv4.DHCPv4, until time.Time, types []dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	buf := make([]byte, 4096)
	for {
		n, err := c.socket.Receive(buf, until)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("dhcp: %w", err)
		}
		answer, err := unframe(buf[:n])
		if err != nil || answer.TransactionID != m.TransactionID || !bytes.Equal(answer.ClientHWAddr, c.Hardware) {
			continue
		}
		for _, t := range types {
			if answer.MessageType() == t {
				return answer, nil
			}
		}
	}
}

// jitter keeps guests that started together apart.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
