package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vserver/guest"
	"vserver/store/settings"
)

// entries parses "name: spec" pairs.
func entries(t testing.TB, specs map[guest.Name]string) (all []Entry) {
	t.Helper()
	for n, text := range specs {
		spec, err := settings.Parse(string(n)+".yaml", []byte(text))
		all = append(all, Entry{n, spec, err})
	}
	return all
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		specs map[guest.Name]string
		taken []Range
		want  []string
	}{
		"none": {specs: map[guest.Name]string{
			"a": "{xid: 8, network: {addresses: [10.0.0.1/24]}}",
			"b": "{xid: 9, network: {addresses: [10.0.0.2/24]}, boot: {depends: [a]}}",
			"c": "{}", "d": "{}"}},
		"xid": {specs: map[guest.Name]string{"a": "xid: 8", "b": "xid: 8"},
			want: []string{"a xid: number 8 is guest b's as well", "b xid: number 8 is guest a's"}},
		"ranges": {specs: map[guest.Name]string{"a": "xid: 8", "b": "{xid: 9, idbase: 524288}"},
			want: []string{"a xid: the host's ids 524288 to 589823 belong to guest b", "b idbase: the host's ids 524288 to 589823 belong to guest a"}},
		"ranges that touch": {specs: map[guest.Name]string{"a": "xid: 8", "b": "{xid: 10, idbase: 589824}"}},
		"no range of its own": {specs: map[guest.Name]string{"a": "xid: 8", "b": "{xid: 9, userns: none}", "c": "xid: 40000"},
			taken: []Range{{589824, 655359, "x"}, {40000 << 16 & 0xffffffff, 40000<<16&0xffffffff + 5, "y"}}},
		"the host's": {specs: map[guest.Name]string{"a": "xid: 8", "b": "xid: 9"}, taken: []Range{{589823, 589823, "eve (/etc/passwd:9)"}},
			want: []string{"a xid: the host's ids 589823 to 589823 belong to eve (/etc/passwd:9)"}},
		"the host's over several": {specs: map[guest.Name]string{"a": "xid: 8", "b": "xid: 9"}, taken: []Range{{0, 1 << 31, "all"}, {3, 4, "few"}},
			want: []string{"a xid: the host's ids 524288 to 589823 belong to all", "b xid: the host's ids 589824 to 655359 belong to all"}},
		"addresses": {specs: map[guest.Name]string{
			"a": "network: {addresses: [10.0.0.1/24]}", "b": "network: {addresses: [10.0.0.3/24, 10.0.0.1/16]}"},
			want: []string{"a network.addresses[0]: 10.0.0.1 is guest b's as well", "b network.addresses[1]: 10.0.0.1 is guest a's"}},
		"hostname": {specs: map[guest.Name]string{"a": "hostname: x", "b": "hostname: x"},
			want: []string{"a hostname: host name x is guest b's as well (warning)", "b hostname: host name x is guest a's (warning)"}},
		"unknown": {specs: map[guest.Name]string{"a": "boot: {depends: [b, c]}", "b": "xid: broken"},
			want: []string{"a boot.depends[1]: there is no guest c"}},
		"cycle": {specs: map[guest.Name]string{"a": "boot: {depends: [d, b]}", "b": "boot: {depends: [c]}", "c": "boot: {depends: [a]}", "d": ""},
			want: []string{"a boot.depends[1]: guests wait for each other: a -> b -> c -> a",
				"b boot.depends[0]: guests wait for each other: b -> c -> a -> b", "c boot.depends[0]: guests wait for each other: c -> a -> b -> c"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, c := range Check(entries(t, test.specs), test.taken) {
				if !errors.Is(c.Err, guest.ErrInvalid) {
					t.Errorf("%v: is not ErrInvalid", c.Err)
				}
				text := fmt.Sprintf("%s %s: %s", c.Guest, c.Path, strings.TrimSuffix(c.Err.Error(), ": invalid"))
				if c.Warning {
					text += " (warning)"
				}
				got = append(got, text)
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// TestAlone sees that no key is left out that Check finds something wrong with.
func TestAlone(t *testing.T) {
	for _, path := range []string{"xid", "idbase", "userns", "hostname", "network.addresses", "boot.depends"} {
		if Alone([]string{"limits.memory", path}) {
			t.Errorf("nobody else minds %s", path)
		}
	}
	if !Alone([]string{"limits.memory", "init.command"}) || !Alone(nil) {
		t.Error("others mind a guest's limits")
	}
}
