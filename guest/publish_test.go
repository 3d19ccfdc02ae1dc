package guest

import (
	"errors"
	"testing"
)

func TestParsePublish(t *testing.T) {
	for in, want := range map[string]string{
		"8080:80":                                "8080:80/tcp",
		"8080:80/tcp":                            "8080:80/tcp",
		"198.51.100.1:53:53/udp":                 "198.51.100.1:53:53/udp",
		"[2001:db8::1]:80:80/tcp":                "[2001:db8::1]:80:80/tcp",
		"[2001:0db8::1]:80:[2001:db8::0:2]:80":   "[2001:db8::1]:80:[2001:db8::2]:80/tcp",
		"10000-10099:192.0.2.10:20000-20099/udp": "10000-10099:192.0.2.10:20000-20099/udp",
		"10000-10099:20000/udp":                  "10000-10099:20000-20099/udp",
		"127.0.0.1:5432:192.0.2.7:5432":          "127.0.0.1:5432:192.0.2.7:5432/tcp",
		"1-65535:1":                              "1-65535:1-65535/tcp",
		"":                                       "",
		"80":                                     "",
		"80:":                                    "",
		":80":                                    "",
		"80:80:80":                               "",
		"80:80/sctp":                             "",
		"80:80/":                                 "",
		"0:80":                                   "",
		"80:65536":                               "",
		"+80:80":                                 "",
		"080:80":                                 "",
		"90-80:90-80":                            "",
		"80-90:80-91":                            "",
		"80-90:65530":                            "",
		"2001:db8::1:80:80":                      "",
		"[192.0.2.1]:80:80":                      "",
		"[::]:80:80":                             "",
		"0.0.0.0:80:80":                          "",
		"[fe80::1%eth0]:80:80":                   "",
		"[2001:db8::1]:80:192.0.2.1:80":          "",
		"[2001:db8::1:80:80":                     "",
		"1.2.3:80:80":                            "",
		"80:192.0.2.1:80:":                       "",
		"224.0.0.1:80:80":                        "",
		"[::ffff:192.0.2.1]:80:80":               "",
	} {
		p, err := ParsePublish(in)
		if want == "" {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%q: %v, %v", in, p, err)
			}
			continue
		}
		if err != nil || p.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, p, err, want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"80:80", "80:8080", true},
		{"80:80", "80:80/udp", false},
		{"80-90:80", "85:1", true},
		{"80-90:80", "91:1", false},
		{"192.0.2.1:80:80", "192.0.2.1:80:81", true},
		{"192.0.2.1:80:80", "192.0.2.2:80:81", false},
		{"192.0.2.1:80:80", "80:81", false}, // the narrower one goes first
	} {
		a, err1 := ParsePublish(c.a)
		b, err2 := ParsePublish(c.b)
		if err1 != nil || err2 != nil || a.Overlaps(b) != c.want || b.Overlaps(a) != c.want {
			t.Errorf("%s, %s: %v, %v, %v", c.a, c.b, a.Overlaps(b), err1, err2)
		}
	}
}

func FuzzParsePublish(f *testing.F) {
	for _, s := range []string{"8080:80", "[2001:db8::1]:80:[2001:db8::2]:80-81/udp", "1.2.3.4:1-9:1-9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePublish(s)
		if err != nil {
			return
		}
		if again, err := ParsePublish(p.String()); err != nil || again != p {
			t.Errorf("%q: %q: %v", s, p, err)
		}
	})
}
