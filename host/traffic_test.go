package host

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/nft"
	"vserver/step"
)

// filters names what our table has of guests: chains that are not of a part.
func filters(t *testing.T) (out []string) {
	t.Helper()
	conn, err := nft.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chains, err := conn.Chains(nft.Table{Family: nft.Inet, Name: "vserver"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chains {
		if strings.Contains(c, "-1") { // xids of the tests begin with 1
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return out
}

func sameFilters(t *testing.T, when string, want ...string) {
	t.Helper()
	if got := filters(t); !slices.Equal(got, want) {
		t.Errorf("%s: filters %q, want %q", when, got, want)
	}
}

// withTraffic is a guest in the host's network with everything that is asked of the
// packet filter and the queues.
func withTraffic(s *guest.Spec) {
	inShared("198.51.100.10/24 dev up0")(s)
	s.Network.Firewall = []guest.Rule{{Way: guest.In, Protocol: guest.TCP, Ports: []guest.PortRange{{Low: 80, High: 80}}}, {Deny: true, Way: guest.In}}
	s.Network.Egress, s.Network.Ingress = guest.Egress{Rate: 8e6}, guest.Ingress{Rate: 8e6}
}

// uplink makes a link of the host.
func uplink(t *testing.T) {
	for _, tool := range []string{"ip", "tc"} {
		need.Command(t, tool)
	}
	for _, line := range []string{"link add up0 type veth peer name up1", "address add 198.51.100.1/24 dev up0", "link set up0 up", "link set up1 up"} {
		if out, err := command("ip", strings.Fields(line)...); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
}

func TestTraffic(t *testing.T) {
	w := newNet(t)
	uplink(t)
	n := w.guest("web1", withTraffic)
	w.start(n)
	sameFilters(t, "started", "guest-101", "in-101", "police-101")
	for _, port := range []string{"80", "81"} {
		if out, code := w.sh(n, "nc -ll -p "+port+" -e echo served >/dev/null 2>&1 &"); code != 0 {
			t.Fatalf("server: %s", out)
		}
	}
	served(t, "198.51.100.10:80")
	unserved(t, "198.51.100.10:81")
	before, err := w.Usage()
	if err != nil || before[1].Net == nil || before[1].Net.PacketsIn == 0 || before[1].Net.BytesOut == 0 || before[1].Net.Made == 0 {
		t.Errorf("counts %+v, %v", before[1].Net, err)
	}
	w.worker(syscall.SIGSTOP) // else it mends that at once
	flush(t)
	st, err := w.Status(n)
	w.worker(syscall.SIGCONT)
	if err != nil || !strings.Contains(st.Problem, "packet filter") {
		t.Errorf("flushed, and the status is %+v, %v", st, err)
	}
	set := func(change string) {
		t.Helper()
		c, err := w.Set(n, []string{change})
		if err != nil || len(c.Restart) > 0 {
			t.Errorf("%s: %+v, %v", change, c, err)
		}
	}
	set(`network.firewall=["deny out udp port 53", "deny in"]`)
	sameFilters(t, "changed", "guest-101", "in-101", "out-101", "police-101")
	if st, err := w.Status(n); err != nil || st.Problem != "" {
		t.Errorf("whole again, and the status is %+v, %v", st, err)
	}
	unserved(t, "198.51.100.10:80")
	set("network.firewall=deny out tcp port 82")
	served(t, "198.51.100.10:81")
	l, err := net.Listen("tcp", "198.51.100.1:82")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if out, code := w.sh(n, "nc 198.51.100.1 82 </dev/null"); code == 0 {
		t.Errorf("denied, and yet %q", out)
	}
	set("network.ingress.rate=")
	set("network.firewall=")
	sameFilters(t, "rules away", "guest-101")
	set("network.egress.rate=")
	sameFilters(t, "all away")
	set("network.egress.share=20")
	w.stop(n)
	sameFilters(t, "stopped")
}

// flush removes all rules, as a careless nftables.conf does.
func flush(t *testing.T) {
	t.Helper()
	conn, err := nft.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := nft.NewBatch(nft.Table{Family: nft.Inet, Name: "vserver"})
	b.DelTable()
	if err := conn.Commit(b); err != nil {
		t.Fatal(err)
	}
}

// TestTrafficPrivate: a guest behind a link of its own has its rules and counts as well.
func TestTrafficPrivate(t *testing.T) {
	w := newNet(t)
	uplink(t)
	n := w.guest("web1", func(s *guest.Spec) {
		s.Network = guest.Network{Mode: guest.NetPrivate, Egress: guest.Egress{Rate: 8e6}, Ingress: guest.Ingress{Rate: 8e6}}
		s.Network.Addresses = []guest.Address{{Prefix: netip.MustParsePrefix("10.1.0.8/32")}}
	})
	w.start(n)
	sameFilters(t, "started", "guest-101")
	ping := func(seconds string) int {
		_, code := w.sh(n, "ping -c 1 -W "+seconds+" 198.51.100.1")
		return code
	}
	if code := ping("20"); code != 0 {
		t.Errorf("ping: code %d", code)
	}
	all, err := w.Usage()
	if err != nil || all[1].Net == nil || all[1].Net.PacketsIn == 0 || all[1].Net.BytesOut < 84 { // a ping
		t.Errorf("counts %+v, %v", all[1].Net, err)
	}
	if _, err := w.Set(n, []string{"network.firewall=deny out icmp"}); err != nil {
		t.Error(err)
	}
	sameFilters(t, "changed", "guest-101", "out-101")
	if code := ping("1"); code == 0 {
		t.Error("ping: not denied")
	}
	w.stop(n)
	sameFilters(t, "stopped")
}

// served waits for an answer, which takes as long as the server takes to begin.
func served(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, err := dial(addr, 20*time.Second)
		if answer == "served\n" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %q, %v", addr, answer, err)
		}
	}
}

// unserved sees that there is no answer, for a moment.
func unserved(t *testing.T, addr string) {
	t.Helper()
	if answer, err := dial(addr, 200*time.Millisecond); err == nil {
		t.Errorf("%s: %q", addr, answer)
	}
}

func dial(addr string, patience time.Duration) (string, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c)
	return string(b), err
}

// A start with rules and rates that is killed leaves nothing of them behind the next
// stop.
func TestTrafficKilled(t *testing.T) {
	w := newNet(t)
	uplink(t)
	n := w.guest("web1", withTraffic)
	plan, err := w.PlanStart(n)
	if err != nil {
		t.Fatal(err)
	}
	for k := range plan {
		if !strings.HasPrefix(plan[k].Name, "give the host") && k != len(plan)-1 {
			continue
		}
		if out, err := w.program(fmt.Sprintf("%s=start:%d", step.DieVar, k), string(n), "start"); err == nil {
			t.Fatalf("%s: was not killed: %s", plan[k], out)
		}
		sameFilters(t, "killed after "+plan[k].Name, "guest-101", "in-101", "police-101")
		if err := w.Stop(t.Context(), n, StopOptions{Kill: true}); err != nil && !errors.Is(err, guest.ErrStopped) {
			t.Error(err)
		}
		sameFilters(t, "stopped after that")
		if out, err := command("tc", "qdisc", "show", "dev", "up0"); err != nil || strings.Contains(out, "htb") {
			t.Error(out, err)
		}
	}
}
