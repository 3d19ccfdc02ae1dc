package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"

	"vserver/guest"
)

// protocol marks what is ours; 'v'. The routed veth of private guests has the same.
const protocol = 118

// World is a byte that tells installations in one network apart: those with another
// root than / share the host's numbers with it. See [WorldOf].
type World byte

// WorldOf is the world of an installation, by the group of its guests: 0 for the
// default one, else seldom that of another.
func WorldOf(d guest.Dirs) World {
	_, word, other := strings.Cut(d.Cgroup, "-")
	if !other {
		return 0
	}
	w := World(1)
	for i := range len(word) {
		w = w*31 + World(word[i])
	}
	if w == 0 || w == 0x73 { // the default one; what private guests' routes bear
		w = 1
	}
	return w
}

// mark is the number that a guest's addresses, rules and routes bear: "v", then the
// world, then the guest's number, which is less than 65536.
func (c *conn) mark(xid guest.XID) uint32 { return protocol<<24 | uint32(c.world)<<16 | uint32(xid) }

// conn is a connection to the kernel's routing, for the calling thread's namespace.
type conn struct {
	sockets map[int]*nl.SocketHandle
	world   World
}

func dial(w World) (*conn, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &conn{map[int]*nl.SocketHandle{syscall.NETLINK_ROUTE: {Socket: s}}, w}, nil
}

func (c *conn) close() { c.sockets[syscall.NETLINK_ROUTE].Close() }

// message is a request with its attributes.
type message struct {
	*nl.NetlinkRequest
	c *conn
}

func (c *conn) message(kind, flags int, header nl.NetlinkRequestData) *message {
	m := &message{nl.NewNetlinkRequest(kind, flags), c}
	m.Sockets = c.sockets
	m.AddData(header)
	return m
}

func (m *message) bytes(attr int, value []byte) { m.AddData(nl.NewRtAttr(attr, value)) }

func (m *message) number(attr int, value uint32) {
	m.bytes(attr, binary.NativeEndian.AppendUint32(nil, value))
}

// do sends the request and waits for the kernel's answer.
func (m *message) do() error {
	_, err := m.Execute(syscall.NETLINK_ROUTE, 0)
	return err
}

// dump asks for a list, again when the kernel says that it changed meanwhile: guests come
// and go all the time. Each entry is given without its header of so many bytes.
func (c *conn) dump(kind, answer int, h header, size int, each func(head []byte, attrs map[uint16][]byte)) error {
	var list [][]byte
	var err error
	for range 20 {
		list, err = c.message(kind, syscall.NLM_F_DUMP, h).Execute(syscall.NETLINK_ROUTE, uint16(answer))
		if !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return err
	}
	for _, m := range list {
		if len(m) < size {
			continue
		}
		attrs, err := attributes(m[size:])
		if err != nil {
			return err
		}
		each(m[:size], attrs)
	}
	return nil
}

// attributes reads what follows the header of a message.
func attributes(b []byte) (map[uint16][]byte, error) {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil, err
	}
	out := make(map[uint16][]byte, len(list))
	for _, a := range list {
		out[a.Attr.Type] = a.Value
	}
	return out, nil
}

// number reads an attribute of 32 bits; 0 when it is not there.
func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}
