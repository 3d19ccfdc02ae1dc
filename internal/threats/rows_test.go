package threats_test

import (
	"bufio"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"vserver/bpf"
	"vserver/guest"
	"vserver/internal/threats/probe"
)

// kind is a guest to try from.
type kind struct {
	name  guest.Name
	flags []string
	also  bool // has a second address of each family
}

func (k kind) has(flag string) bool { return slices.Contains(k.flags, flag) }

// kinds are guests with one address of each family and with several, whose wildcard is
// one address, and whose sockets are handed in.
func kinds() []kind {
	return []kind{
		{"plain", nil, false}, {"many", nil, true}, {"single", []string{"single_ip"}, true},
		{"hidden", []string{"hide_netif"}, false}, {"hiddenmany", []string{"hide_netif"}, true},
	}
}

// TestRows tries the list one by one, and sees that it changed nothing on the host.
func TestRows(t *testing.T) {
	w := newWorld(t)
	w.neighbour(ground())
	grounds := map[guest.Name]*probe.Ground{}
	for i, k := range kinds() {
		grounds[k.name] = w.start(i, k)
	}
	before := w.state()
	t.Run("in", func(t *testing.T) {
		for _, k := range kinds() {
			t.Run(string(k.name), func(t *testing.T) {
				t.Parallel() // most of the time is silence
				w := *w
				w.t = t
				w.rows(k, grounds[k.name])
			})
		}
	})
	if after := w.state(); !slices.Equal(before, after) {
		t.Errorf("the host's network was\n%q\nand is\n%q", before, after)
	}
}

// TestPingOfPool pings from a guest with an address of the pool, which the host hides.
func TestPingOfPool(t *testing.T) {
	w := newWorld(t)
	w.guest("pooled", 120, nil)
	g := ground()
	_, out, wait := w.begin("pooled", "pings", &probe.Ground{Out4: g.Out4, Host4: g.Host4, Own4: "10.118.0.120"})
	for s := bufio.NewScanner(out); s.Scan(); {
		name, got, _ := strings.Cut(s.Text(), "\t")
		if (strings.HasPrefix(name, "ping4") || strings.HasSuffix(name, "loopback")) && got != "ok" {
			t.Errorf("%s: %s", name, got)
		}
	}
	must(t, wait())
}

// rows runs the list in a guest and holds what comes of it against the table.
func (w *world) rows(k kind, g *probe.Ground) {
	t, rows := w.t, table()
	tasks, err := bpf.FindTasks()
	must(t, err)
	old := !bpf.Parts{Tasks: tasks}.Extras()
	used := make([]bool, len(rows))
	in, out, wait := w.begin(k.name, "rows", g)
	in.Close()
	lines := 0
	for s := bufio.NewScanner(out); s.Scan(); lines++ {
		name, got, _ := strings.Cut(s.Text(), "\t")
		i := slices.IndexFunc(rows, func(r row) bool { return r.fits(name) })
		if i < 0 {
			t.Errorf("%s: %s, and the table has no such row", name, got)
			continue
		}
		used[i] = true
		want := rows[i].right(k.has("hide_netif"), old)
		own := strings.NewReplacer("OWN4", g.Own4, "OWN6", g.Own6)
		if !right(got, own.Replace(want)) {
			t.Errorf("row %d: %s: %s, want %s", rows[i].number, name, got, want)
		}
	}
	must(t, wait())
	for i, r := range rows {
		if !used[i] {
			t.Errorf("row %d: %s: nothing like that was tried", r.number, r.pattern)
		}
	}
	t.Logf("%d attempts", lines)
}

// right is what a row wants of a guest, on a kernel that is old or not.
func (r row) right(hidden, old bool) string {
	switch {
	case hidden && r.hidden != "":
		return r.hidden
	case !hidden && old && older()[r.pattern] != "":
		return older()[r.pattern]
	}
	return r.want
}

// right tells whether an answer is one of those that a row wants.
func right(got, want string) bool {
	return slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { ok, err := path.Match(w, got); return ok && err == nil })
}

// fits tells whether a row is about an attempt. A star stands for anything, also for
// what has a slash.
func (r row) fits(name string) bool {
	clean := strings.NewReplacer("/", "_")
	ok, err := path.Match(clean.Replace(r.pattern), clean.Replace(name))
	return ok && err == nil
}

// state is the host's links, addresses, routes and rules, a line for each.
func (w *world) state() (out []string) {
	w.t.Helper()
	must(w.t, w.in(w.host, func() error {
		links, err := netlink.LinkList()
		must(w.t, err)
		for _, l := range links {
			out = append(out, l.Attrs().Name+" "+l.Attrs().Flags.String())
		}
		addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		must(w.t, err)
		for _, a := range addrs {
			out = append(out, a.IPNet.String())
		}
		routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
		must(w.t, err)
		for _, r := range routes {
			out = append(out, r.String())
		}
		rules, err := netlink.RuleList(netlink.FAMILY_ALL)
		must(w.t, err)
		for _, r := range rules {
			out = append(out, r.String())
		}
		return nil
	}))
	slices.Sort(out)
	return out
}
