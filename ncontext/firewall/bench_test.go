package firewall

import (
	"fmt"
	"net"
	"testing"

	"vserver/guest"
)

// What a start and a stop pay: of a guest that asks for nothing, of one with a link,
// and of one with rules; alone, and beside 500 guests with rules.
func BenchmarkUpDown(b *testing.B) {
	for _, beside := range []int{0, 500} {
		for name, g := range map[string]Guest{
			"nothing": {XID: 8, Addresses: addrs("198.51.100.8")},
			"link":    {XID: 8, Link: "vs8", Addresses: addrs("198.51.100.8")},
			"rules":   {XID: 8, Addresses: addrs("198.51.100.8"), Rules: parsed(b, "allow in tcp port 22,80,443", "deny in")},
		} {
			b.Run(fmt.Sprint(name, "/", beside), func(b *testing.B) {
				newWorld(b)
				for xid := range guest.XID(beside) {
					must(b, Up(Guest{XID: 1000 + xid, Rules: parsed(b, "deny in"), Addresses: addrs(fmt.Sprintf("10.0.%d.%d", xid>>8, xid&255))}))
				}
				for b.Loop() {
					must(b, Up(g))
					must(b, Down(8))
				}
			})
		}
	}
}

// What a packet pays: a round trip of UDP over lo between two addresses of the host's,
// with no rule of anybody, with rules of 500 others, and with rules of its own.
func BenchmarkPacket(b *testing.B) {
	for _, rules := range []string{"none", "others", "own"} {
		b.Run(rules, func(b *testing.B) {
			w := newWorld(b)
			w.address("up0", "198.51.100.8/24", "198.51.100.9/24")
			if rules != "none" {
				for xid := range guest.XID(500) {
					must(b, Up(Guest{XID: 1000 + xid, Rules: parsed(b, "deny in"), Addresses: addrs(fmt.Sprintf("10.0.%d.%d", xid>>8, xid&255))}))
				}
			}
			if rules == "own" {
				must(b, Up(Guest{XID: 8, Addresses: addrs("198.51.100.8"), Rules: parsed(b, "allow in udp from 198.51.100.0/24 port 1-65535", "deny in")}))
			}
			there, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP("198.51.100.8")})
			must(b, err)
			defer there.Close()
			here, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP("198.51.100.9")}, there.LocalAddr().(*net.UDPAddr))
			must(b, err)
			defer here.Close()
			buf := make([]byte, 8)
			for b.Loop() { // one goroutine: no scheduling is measured
				here.Write(buf[:1])
				_, from, err := there.ReadFromUDPAddrPort(buf)
				must(b, err)
				there.WriteToUDPAddrPort(buf[:1], from)
				here.Read(buf)
			}
		})
	}
}
