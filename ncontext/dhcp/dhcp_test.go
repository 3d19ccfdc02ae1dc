package dhcp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"vserver/guest"
)

func asker() Asker {
	return Asker{Hardware: net.HardwareAddr{2, 0, 0, 0, 0, 8}, Hostname: "web1"}
}

// answer makes a server's answer with options.
func answer(t testing.TB, yours string, options ...dhcpv4.Option) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := asker().discover(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithYourIP(net.ParseIP(yours)), dhcpv4.WithMessageType(dhcpv4.MessageTypeAck))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range options {
		r.UpdateOption(o)
	}
	return r
}

func TestLeaseOf(t *testing.T) {
	mask := dhcpv4.OptSubnetMask(net.CIDRMask(24, 32))
	router := dhcpv4.OptRouter(net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2))
	_, far, _ := net.ParseCIDR("198.51.100.0/24")
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	classless := dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: far, Router: net.IPv4zero}, &dhcpv4.Route{Dest: all, Router: net.IPv4(192, 0, 2, 3)})
	hours := func(n int) dhcpv4.Option { return dhcpv4.OptIPAddressLeaseTime(time.Duration(n) * time.Hour) }
	for _, c := range []struct {
		yours   string
		options []dhcpv4.Option
		want    string // prefix, routes, renew, rebind, until
	}{
		{"192.0.2.7", []dhcpv4.Option{mask, router, hours(8)}, "192.0.2.7/24 [{0.0.0.0/0 192.0.2.1}] 4h0m0s 7h0m0s 8h0m0s"},
		{"192.0.2.7", []dhcpv4.Option{mask, router, classless, hours(8)}, "192.0.2.7/24 [{198.51.100.0/24 invalid IP} {0.0.0.0/0 192.0.2.3}] 4h0m0s 7h0m0s 8h0m0s"},
		{"192.0.2.7", []dhcpv4.Option{hours(8)}, "192.0.2.7/24 [] 4h0m0s 7h0m0s 8h0m0s"},
		{"10.0.2.7", nil, "10.0.2.7/8 [] 5s 8.75s 10s"},
		{"192.0.2.7", []dhcpv4.Option{mask, hours(1 << 20)}, "192.0.2.7/24 [] 43800h0m0s 76650h0m0s 87600h0m0s"},
		{"192.0.2.7", []dhcpv4.Option{mask, hours(8), dhcpv4.OptRenewTimeValue(time.Hour), dhcpv4.OptRebindingTimeValue(2 * time.Hour)}, "192.0.2.7/24 [] 1h0m0s 2h0m0s 8h0m0s"},
		{"192.0.2.7", []dhcpv4.Option{mask, hours(8), dhcpv4.OptRenewTimeValue(9 * time.Hour)}, "192.0.2.7/24 [] 4h0m0s 7h0m0s 8h0m0s"},
		{"192.0.2.7", []dhcpv4.Option{dhcpv4.OptSubnetMask(net.IPMask{255, 0, 255, 0})}, ""},
		{"0.0.0.0", []dhcpv4.Option{mask}, ""},
		{"127.0.0.1", []dhcpv4.Option{mask}, ""},
		{"224.0.0.1", []dhcpv4.Option{mask}, ""},
	} {
		now := time.Now()
		l, err := leaseOf(answer(t, c.yours, c.options...), now)
		if c.want == "" {
			if !errors.Is(err, guest.ErrInvalid) {
				t.Errorf("%s: %v, %v", c.yours, l, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.yours, err)
			continue
		}
		got := fmt.Sprint(l.Prefix, " ", l.Routes, " ", l.Renew.Sub(now), " ", l.Rebind.Sub(now), " ", l.Until.Sub(now))
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.yours, got, c.want)
		}
	}
}

// TestFrame sees what is sent to a server as the server does.
func TestFrame(t *testing.T) {
	m, err := asker().again(netip.MustParseAddr("192.0.2.7"), true)
	if err != nil {
		t.Fatal(err)
	}
	f := frame(m)
	if checksum(f[:20]) != 0 || !bytes.Equal(f[12:16], []byte{192, 0, 2, 7}) || !bytes.Equal(f[16:20], []byte{255, 255, 255, 255}) {
		t.Errorf("header % x", f[:28])
	}
	got, err := dhcpv4.FromBytes(f[28:])
	if err != nil || got.HostName() != "web1" || !got.ClientIPAddr.Equal(net.IPv4(192, 0, 2, 7)) || got.MessageType() != dhcpv4.MessageTypeRequest {
		t.Errorf("message %v, %v", got, err)
	}
	if _, err := unframe(f); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("our own is taken for a server's: %v", err)
	}
}

// served is a frame as a server sends it.
func served(t testing.TB) []byte {
	f := frame(answer(t, "192.0.2.7"))
	f[21], f[23] = serverPort, clientPort
	return f
}

func TestUnframe(t *testing.T) {
	f := served(t)
	if m, err := unframe(f); err != nil || !m.YourIPAddr.Equal(net.IPv4(192, 0, 2, 7)) {
		t.Errorf("%v, %v", m, err)
	}
	for n := range f {
		if _, err := unframe(f[:n]); err == nil {
			t.Errorf("%d of %d bytes are enough", n, len(f))
		}
	}
}

func FuzzUnframe(f *testing.F) {
	f.Add(served(f))
	f.Add([]byte{0x4f, 0, 0, 30})
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := unframe(p)
		if err != nil {
			return
		}
		if l, err := leaseOf(m, time.Now()); err == nil && (!l.Prefix.IsValid() || !l.Renew.Before(l.Rebind) || !l.Rebind.Before(l.Until)) {
			t.Errorf("%+v", l)
		}
	})
}
