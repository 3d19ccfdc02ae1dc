package guest

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for line, want := range map[string]Address{
		"192.0.2.10/24":                        {Prefix: netip.MustParsePrefix("192.0.2.10/24")},
		" 192.0.2.10/24\tdev  eth0 ":           {Prefix: netip.MustParsePrefix("192.0.2.10/24"), Dev: "eth0"},
		"2001:db8::1/64 nodev":                 {Prefix: netip.MustParsePrefix("2001:db8::1/64"), NoDev: true},
		"192.0.2.10/24 dev dev brd + label x":  {Prefix: netip.MustParsePrefix("192.0.2.10/24"), Dev: "dev", Broadcast: "+", Name: "x"},
		"192.0.2.10/24 scope link dev nodev":   {Prefix: netip.MustParsePrefix("192.0.2.10/24"), Dev: "nodev", Scope: "link"},
		"192.0.2.10/24 name broadcast dev dev": {Prefix: netip.MustParsePrefix("192.0.2.10/24"), Dev: "dev", Name: "broadcast"},
	} {
		got, err := ParseAddress(line)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for line, want := range map[string]string{
		"":                              "want an address with its prefix length",
		"192.0.2.10":                    "as 192.0.2.10/32",
		"192.0.2.10/24 eth0":            `"eth0": behind an address want dev`,
		"192.0.2.10/24 dve eth0":        "did you mean dev?",
		"192.0.2.10/24 dev":             "dev: wants a word",
		"192.0.2.10/24 dev a dev b":     "dev: is there twice",
		"192.0.2.10/24 nodev nodev":     "nodev: is there twice",
		"fe80::1%eth0/64":               "want an address",
		"192.0.2.10/24 broadcast":       "broadcast: wants",
		"dev eth0 192.0.2.10/24":        "want an address",
		"192.0.2.10/24 192.0.2.11/24 x": "behind an address",
	} {
		if _, err := ParseAddress(line); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", line, err, want)
		}
	}
}

// FuzzAddress: what is read is written so that it reads the same.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"192.0.2.10/24 dev eth0 broadcast + scope link name web", "192.0.2.10/32 dev eth0.5 peer 192.0.2.1 vlan", "192.0.2.10/32 dev eth0 peer 198.51.100.0/24", "2001:db8::1/64 nodev", "::/0 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		a, err := ParseAddress(line)
		if err != nil {
			return
		}
		if again, err := ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("%q: %+v, written %q, read %+v, %v", line, a, a, again, err)
		}
		if problems := (&Spec{Network: Network{Addresses: []Address{a}}}).Validate(); len(problems) == 0 && strings.ContainsAny(a.String(), "\n\x00\x1b") {
			t.Errorf("%q is taken", a)
		}
	})
}

func TestNetSets(t *testing.T) {
	f, err := (&Network{Flags: []string{"NXF_SINGLE_IP", "!hide_lback", "info_hide_netif"}}).NetFlags()
	if err != nil || f != SingleIP|LbackRemap|HideNetif || strings.Join(f.Names(), " ") != "hide_netif single_ip lback_remap" {
		t.Errorf("%v, %v", f.Names(), err)
	}
	c, err := (&Network{NCaps: []string{"multicast", "~raw_icmp", "!!broadcast"}}).NetCaps()
	if err != nil || c != Multicast|Broadcast || strings.Join(c.Names(), " ") != "multicast broadcast" {
		t.Errorf("%v, %v", c.Names(), err)
	}
	if _, err := NetFlags(0).Change([]string{"hide_netifs"}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "did you mean hide_netif?") {
		t.Error(err)
	}
	if got := XID(40001).Lback().String(); got != "127.156.65.1" {
		t.Error(got)
	}
	full := (&Spec{XID: 8, Network: Network{Mode: NetShared, Gateway: addrs("192.0.2.1")}}).WithDefaults("a")
	if full.Network.Lback.String() != "127.0.8.1" || full.Network.Table != 1008 {
		t.Errorf("%+v", full.Network)
	}
}
