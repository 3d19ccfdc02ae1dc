package guest

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	net := netip.MustParsePrefix
	for line, want := range map[string]Rule{
		"allow":                             {},
		"deny all":                          {Deny: true},
		"deny in":                           {Deny: true, Way: In},
		"allow tcp from 10.0.0.0/8 port 22": {Protocol: TCP, From: net("10.0.0.0/8"), Ports: []PortRange{{22, 22}}},
		"  deny out  udp to 2001:db8::1 port 53,8000-8080": {Deny: true, Way: Out, Protocol: UDP,
			To: net("2001:db8::1/128"), Ports: []PortRange{{53, 53}, {8000, 8080}}},
		"allow port 53":                      {Ports: []PortRange{{53, 53}}},
		"allow in icmp":                      {Way: In, Protocol: ICMP},
		"allow icmpv6 from any to fe80::/10": {Protocol: ICMPv6, To: net("fe80::/10")},
		"deny proto 47":                      {Deny: true, Protocol: 47},
		"deny in proto 94":                   {Deny: true, Way: In, Protocol: 94},
		"deny sctp ports 1-65535":            {Deny: true, Protocol: 132, Ports: []PortRange{{1, 65535}}},
	} {
		got, err := ParseRule(line)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", line, got, err, want)
			continue
		}
		if again, err := ParseRule(got.String()); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%q: %+v, %v, not what %q was", got, again, err, line)
		}
	}
}

func TestParseRuleRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                          "begins with allow or deny",
		"reject all":                "begins with allow or deny",
		"deny tpc":                  "did you mean tcp?",
		"deny in out":               "out: a second direction",
		"deny tcp udp":              "udp: a second protocol",
		"allow in tcp 22":           "22: a port is written \"port 22\"",
		"deny in 22":                "22: a port is written \"port 22\"",
		"deny from":                 "from: wants a word behind it",
		"deny from 10.0.0.1/8":      "want 10.0.0.0/8 or 10.0.0.1",
		"deny from 10.0.0":          "want an address or a prefix",
		"deny from fe80::1%eth0":    "want an address or a prefix",
		"deny port 0":               "want a number, a range",
		"deny port 90-80":           "want a number, a range",
		"deny port 70000":           "want a number, a range",
		"deny icmp port 1":          "port: icmp has none",
		"deny gre port 1":           "port: gre has none",
		"deny proto 94 proto 95":    "proto: a second protocol",
		"deny proto tcp":            "want a number from 1 to 255",
		"deny from 10.0.0.1 to ::1": "two families",
		"deny icmpv6 to 10.0.0.1":   "does not run over IPv4",
		"deny proto 256":            "want a number from 1 to 255",
		"deny what":                 "want in, out, a protocol",
	} {
		if _, err := ParseRule(line); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

func TestItems(t *testing.T) {
	for list, want := range map[string][]string{
		"deny in": {"deny in"}, "allow tcp port 80,443, deny": {"allow tcp port 80,443", " deny"}, "deny udp port 1,2,allow": {"deny udp port 1,2", "allow"},
		"80, deny": {"80", " deny"},
	} {
		if got := (Rule{}).Items(list); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, line := range []string{"allow tcp from 10.0.0.0/8 port 22", "deny all", "deny out icmpv6 to fe80::/10", "allow 7 ports 1,2-3"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := ParseRule(line)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
			return
		}
		if again, err := ParseRule(r.String()); err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%q gave %q, which gives %+v, %v", line, r, again, err)
		}
	})
}

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{"100M": 1e8, "2.5g": 25e8, "100Mbit": 1e8, "64000": 64000, "1Tbit": 1e12} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%q: %d, %v", text, r, err)
		}
		var again Rate
		if err := again.UnmarshalText([]byte(r.String())); err != nil || again != r {
			t.Errorf("%q: %q gives %d, %v", text, r, again, err)
		}
	}
	for _, text := range []string{"", "fast", "-1", "NaN", "0x1p4", "100MB", "1e30", "bit"} {
		if err := new(Rate).UnmarshalText([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTraffic(t *testing.T) {
	s := Spec{Network: Network{Mode: NetHost, Firewall: []Rule{{Deny: true}, {Deny: true}},
		Egress: Egress{Rate: 1e6, Reserved: 2e6, Share: 2000}, Ingress: Ingress{Rate: 1}}}
	var got []string
	for _, p := range s.Validate() {
		got = append(got, p.Path)
	}
	want := []string{"network.firewall[1]", "network.egress.share", "network.ingress.rate", "network.egress.reserved",
		"network.firewall", "network.egress", "network.ingress"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("problems at %q, want %q", got, want)
	}
	s = Spec{Network: Network{Mode: NetPrivate, Link: LinkBridge, Firewall: []Rule{{Deny: true, Protocol: TCP, Ports: make([]PortRange, MaxItems+1)}}}}
	if list := s.Validate(); len(list) != 1 || !strings.Contains(list[0].Error(), "ports and ranges") {
		t.Errorf("at a bridge: %v", list)
	}
}
