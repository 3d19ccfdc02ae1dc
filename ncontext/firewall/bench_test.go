package firewall

import (
	"fmt"
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
