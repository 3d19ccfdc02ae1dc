package networld

import (
	"net"
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// Two namespaces with a link between them talk by both families.
func TestTalk(t *testing.T) {
	Host(t)
	other := Namespace(t)
	Pair(t, "near", "far", other, 7)
	Address(t, "near", "198.51.100.1/24", "2001:db8::1/64")
	In(t, other, func() {
		Address(t, "far", "198.51.100.2/24", "2001:db8::2/64")
		Local(t, "2001:db8::2")
	})
	Ready(t, "near")
	for _, at := range []string{"198.51.100.2", "2001:db8::2"} {
		var l net.Listener
		var err error
		In(t, other, func() { l, err = net.Listen("tcp", net.JoinHostPort(at, "0")) })
		Must(t, err)
		c, err := net.Dial("tcp", l.Addr().String())
		Must(t, err)
		c.Close()
		l.Close()
	}
	if _, err := net.Listen("tcp", "198.51.100.2:0"); err == nil {
		t.Error("the other's address is ours")
	}
}
