package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/network"
	"vserver/internal/need"
	contexts "vserver/ncontext/shared"
	"vserver/step"
	"vserver/store"
)

// newNet is newWorld in a network namespace of the test's own, which its thread is in
// until the test ends: a loopback that is up, and nothing else.
func newNet(t *testing.T) *world {
	t.Helper()
	need.Root(t)
	need.Namespaces(t, syscall.CLONE_NEWNET)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	sh(t, "ip link set lo up")
	return w
}

func sh(t *testing.T, line string) string {
	t.Helper()
	out, err := command("busybox", "sh", "-c", line)
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return out
}

// addrs are the addresses of the namespace, sorted, but those that every one has.
func addrs(t *testing.T) []string {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		if p := a.String(); p != "127.0.0.1/8" && p != "::1/128" && !strings.HasPrefix(p, "fe80:") {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func sameAddrs(t *testing.T, when string, want ...string) {
	t.Helper()
	if got := addrs(t); !slices.Equal(got, want) {
		t.Errorf("%s: addresses %q, want %q", when, got, want)
	}
}

func inShared(words ...string) func(*guest.Spec) {
	return func(s *guest.Spec) {
		s.Network.Mode = guest.NetShared
		for _, w := range words {
			a, err := guest.ParseAddress(w)
			if err != nil {
				panic(err)
			}
			s.Network.Addresses = append(s.Network.Addresses, a)
		}
	}
}

// lback6 is how addrs shows the IPv6 loopback of a guest.
func lback6(x guest.XID) string { return fmt.Sprintf("fd76:7365:7276:7f::%x/128", int(x)) }

// TestShared: a guest has its addresses in the host's network as long as it runs,
// whatever becomes of its spec meanwhile.
func TestShared(t *testing.T) {
	w := newNet(t)
	web, db := w.guest("web1", nil), w.guest("db", nil)
	xid := guest.XID(101)
	for n, edit := range map[guest.Name]func(*guest.Spec){web: inShared("198.51.100.10/24", "2001:db8::10/64 dev lo"), db: inShared()} {
		spec, err := store.Load(w.Dirs.Spec(n))
		if err != nil {
			t.Fatal(err)
		}
		edit(spec)
		if err := store.Write(w.Dirs.Spec(n), spec); err != nil {
			t.Fatal(err)
		}
	}
	w.start(web)
	w.start(db)
	sameAddrs(t, "both run", "10.118.0.102/32", "198.51.100.10/32", "2001:db8::10/128", lback6(xid), lback6(xid+1))
	st, err := w.Status(web)
	if err != nil || st.Mode != guest.NetShared || len(st.Addresses) != 2 || st.Addresses[0].String() != "198.51.100.10/24" {
		t.Errorf("status %+v, %v", st, err)
	}
	if out, code := w.sh(web, "ip addr show dev lo | grep -c 198.51.100.10"); code != 0 || out != "1\n" {
		t.Errorf("in the guest: %q, code %d", out, code)
	}
	if _, err := w.Set(web, []string{"network.mode=none", "network.addresses=", "xid=103", "idbase=6619136"}); err != nil {
		t.Error(err)
	}
	if st, err := w.Status(web); err != nil || st.XID != xid {
		t.Errorf("runs as number %d, and is said to as %d, %v", xid, st.XID, err)
	}
	w.stop(web)
	w.nothing(web)
	sameAddrs(t, "one is stopped", "10.118.0.102/32", lback6(xid+1))
	if err := os.WriteFile(w.Dirs.Spec(db), []byte("xid: no\n"), 0o644); err != nil {
		t.Error(err)
	}
	w.stop(db)
	sameAddrs(t, "both are stopped")
	os.Remove(w.Dirs.Spec(db))
}

// TestSharedRefused: a start for which an address cannot be had leaves nothing.
func TestSharedRefused(t *testing.T) {
	w := newNet(t)
	sh(t, "ip addr add 198.51.100.1/32 dev lo")
	for _, c := range []struct {
		edit func(*guest.Spec)
		is   error
		says string
	}{
		{inShared("198.51.100.10/24", "198.51.100.1/24"), guest.ErrBusy, "address 198.51.100.1/24: is there already"},
		{inShared("198.51.100.10/24", "198.51.100.11/24 nodev"), guest.ErrInvalid, "nodev, but the host has it not"},
		{inShared("198.51.100.10/24", "198.51.100.12/24 dev eth0"), guest.ErrInvalid, "dev eth0: no such link"},
	} {
		n := w.guest("web1", c.edit)
		_, err := w.Start(t.Context(), n, StartOptions{})
		if !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
		w.nothing(n)
		sameAddrs(t, c.says, "198.51.100.1/32")
	}
	if err := os.MkdirAll(filepath.Dir(w.Dirs.AddressPool()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.Dirs.AddressPool(), []byte("all of them\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n := w.guest("web1", inShared())
	if _, err := w.Start(t.Context(), n, StartOptions{}); !errors.Is(err, guest.ErrInvalid) || !strings.Contains(err.Error(), "pool: \"all of them\"") {
		t.Error(err)
	}
}

// TestSharedKilled kills starts and stops after each step: the next stop, or start,
// puts all of the network right.
func TestSharedKilled(t *testing.T) {
	w := newNet(t)
	n := w.guest("web1", inShared("198.51.100.10/24"))
	forward, err := w.PlanStart(n)
	if err != nil {
		t.Fatal(err)
	}
	backward, err := w.PlanStop(n)
	if err != nil {
		t.Fatal(err)
	}
	must := func(env string, args ...string) {
		t.Helper()
		if out, err := w.program(env, args...); (err == nil) != (env == "") {
			t.Fatalf("%s %v: %v: %s", env, args, err, out)
		}
	}
	has := []string{"198.51.100.10/32", lback6(101)}
	for k := range forward {
		if !strings.Contains(forward[k].Name, "addresses") && !strings.Contains(forward[k].Name, "give") && k < len(forward)-1 {
			continue // the other steps are TestStartKilled's
		}
		must(fmt.Sprintf("%s=start:%d", step.DieVar, k), string(n), "start")
		must("", string(n), "start")
		sameAddrs(t, fmt.Sprintf("start after a kill after %s", forward[k]), has...)
		must("", string(n), "stop")
		w.nothing(n)
		sameAddrs(t, fmt.Sprintf("stop after a kill after %s", forward[k]))
	}
	for k := range backward {
		if !strings.Contains(backward[k].Name, "undo") {
			continue
		}
		w.start(n)
		must(fmt.Sprintf("%s=stop:%d", step.DieVar, k), string(n), "stop")
		if err := w.Stop(t.Context(), n, StopOptions{}); err != nil && !errors.Is(err, guest.ErrStopped) {
			t.Fatalf("stop after a kill after %s: %v", backward[k], err)
		}
		w.nothing(n)
		sameAddrs(t, fmt.Sprintf("stop after a kill after %s", backward[k]))
	}
}

// TestNet changes the addresses of a guest that runs.
func TestNet(t *testing.T) {
	w := newNet(t)
	n := w.guest("web1", inShared("198.51.100.10/24"))
	other := w.guest("web2", inShared("198.51.100.20/24"))
	w.start(n)
	w.start(other)
	parse := func(s string) guest.Address {
		a, err := guest.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	base := []string{"198.51.100.20/32", lback6(101), lback6(102)}
	for _, a := range []string{"198.51.100.11/24 dev lo", "198.51.100.12/24"} {
		if err := w.NetAdd(n, parse(a), NetOptions{Save: a == "198.51.100.12/24"}); err != nil {
			t.Fatal(err)
		}
	}
	sameAddrs(t, "added", append([]string{"198.51.100.10/32", "198.51.100.11/32", "198.51.100.12/32"}, base...)...)
	for a, is := range map[string]error{"198.51.100.11/24": guest.ErrExists, "198.51.100.20/24": guest.ErrBusy, "127.0.0.1/8": guest.ErrInvalid, "198.51.100.13/24 dev eth7": guest.ErrInvalid} {
		if err := w.NetAdd(n, parse(a), NetOptions{}); !errors.Is(err, is) {
			t.Errorf("%s: %v", a, err)
		}
	}
	if list, err := w.NetAddresses(n); err != nil || fmt.Sprint(list) != "[198.51.100.10/24 198.51.100.11/24 dev lo 198.51.100.12/24]" {
		t.Errorf("%v, %v", list, err)
	}
	if text, err := w.Config(n, "network.addresses"); err != nil || text != "- 198.51.100.10/24\n- 198.51.100.12/24" {
		t.Errorf("saved %q, %v", text, err)
	}
	if err := w.NetDel(n, parse("198.51.100.11/24").Addr(), NetOptions{Kill: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.NetDel(n, parse("198.51.100.12/24").Addr(), NetOptions{Save: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.NetDel(n, parse("198.51.100.12/24").Addr(), NetOptions{}); !errors.Is(err, guest.ErrInvalid) {
		t.Error(err)
	}
	sameAddrs(t, "taken", append([]string{"198.51.100.10/32"}, base...)...)
	w.stop(n)
	if err := w.NetAdd(n, parse("198.51.100.14/24"), NetOptions{}); !errors.Is(err, guest.ErrStopped) {
		t.Errorf("stopped: %v", err)
	}
	if err := w.NetAdd(n, parse("198.51.100.14/24"), NetOptions{Save: true}); err != nil {
		t.Error(err)
	}
	w.stop(other)
	sameAddrs(t, "stopped")
	if list, err := w.NetAddresses(n); err != nil || fmt.Sprint(list) != "[198.51.100.10/24 198.51.100.14/24]" {
		t.Errorf("%v, %v", list, err)
	}
	private := w.guest("none", nil)
	w.start(private)
	if err := w.NetAdd(private, parse("198.51.100.30/24"), NetOptions{}); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("mode none: %v", err)
	}
}

func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}

// TestNamed: guests that run find each other in their hosts files; what a guest has
// written there stays, and a link leads nobody outside.
func TestNamed(t *testing.T) {
	w := newNet(t)
	web, db, evil := w.guest("web1", inShared("198.51.100.10/24", "2001:db8::10/64")), w.guest("db", inShared()), w.guest("evil", inShared())
	outside := filepath.Join(t.TempDir(), "outside")
	for _, n := range []guest.Name{web, db, evil} {
		w.start(n)
	}
	if err := proto.Quit(w.Dirs); err != nil { // it writes the names as well, beside the test
		t.Fatal(err)
	}
	for n, line := range map[guest.Name]string{web: "echo 10.0.0.1 mine > /etc/hosts", db: ": > /etc/hosts"} {
		if out, code := w.sh(n, line+"; cat /etc/hosts"); code != 0 {
			t.Fatalf("%s: exit code %d: %s", n, code, out)
		}
	}
	w.sh(evil, "ln -s /proc/self/cwd"+outside+" /etc/hosts")
	if err := network.Named(w.Dirs); err != nil {
		t.Fatal(err)
	}
	if out, _ := w.sh(web, "cat /etc/hosts; stat -c own-%u-%g /etc/hosts"); !strings.HasPrefix(out, "10.0.0.1 mine\n#") ||
		!strings.Contains(out, "10.118.0.102\tdb db.vs\n") || !strings.Contains(out, "2001:db8::10\tweb1 web1.vs\n") || !strings.Contains(out, "own-0-0") {
		t.Errorf("web1: %q", out)
	}
	if out, _ := w.sh(db, "cat /etc/hosts"); !strings.Contains(out, "198.51.100.10\tweb1 web1.vs\n") {
		t.Errorf("db: %q", out)
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("written outside")
	}
	w.stop(web)
	if err := network.Named(w.Dirs); err != nil {
		t.Fatal(err)
	}
	if out, _ := w.sh(db, "cat /etc/hosts"); strings.Contains(out, "web1") || !strings.Contains(out, "evil") {
		t.Errorf("db, web1 stopped: %q", out)
	}
}

// TestSharedMended: that the programs are gone is said, and the next start of a guest
// brings them back for all.
func TestSharedMended(t *testing.T) {
	w := newNet(t)
	web, db := w.guest("web1", inShared("198.51.100.10/24")), w.guest("db", inShared())
	w.start(web)
	if st, err := w.Status(web); err != nil || st.Problem != "" || st.Net == nil {
		t.Fatalf("%+v, %v", st, err)
	}
	if err := contexts.Detach(w.Dirs); err != nil {
		t.Fatal(err)
	}
	if st, err := w.Status(web); err != nil || !strings.Contains(st.Problem, "programs are gone") {
		t.Errorf("%+v, %v", st, err)
	}
	w.start(db)
	if st, err := w.Status(web); err != nil || st.Problem != "" || st.Net == nil {
		t.Errorf("mended: %+v, %v", st, err)
	}
}

// TestCheckAgain: that a guest which runs could not start again is known before it has ended, and
// nothing is changed by the asking; what it has itself is not in its way.
func TestCheckAgain(t *testing.T) {
	w := newNet(t)
	for _, line := range []string{"link add eth0 type veth peer name far0", "address add 203.0.113.1/24 dev eth0", "link set eth0 up", "link set far0 up"} {
		if out, err := command("ip", strings.Fields(line)...); err != nil {
			t.Fatal(line, out)
		}
	}
	sh(t, "echo 1 >/proc/sys/net/ipv6/conf/far0/disable_ipv6")
	n := w.guest("web1", inShared("198.51.100.10/24 dev eth0"))
	w.start(n)
	before := addrs(t)
	for _, c := range []struct {
		set  []string
		is   error
		says string
	}{
		{[]string{"network.gateway=[198.51.100.1]"}, nil, ""},
		{[]string{"network.gateway=[203.0.113.9]"}, nil, ""},
		{[]string{"network.addresses=[203.0.113.7/24]", "network.gateway=[203.0.113.9]"}, nil, ""},
		{[]string{"network.gateway=[192.0.2.1]"}, guest.ErrInvalid, "gateway 192.0.2.1: is on no link"},
		{[]string{"network.addresses=[203.0.113.7/24]", "network.gateway=[198.51.100.1]"}, guest.ErrInvalid, "gateway 198.51.100.1: is on no link"},
		{[]string{"network.addresses=[203.0.113.7/24 dev eth0.7 vlan]", "network.gateway=[203.0.113.9]"}, nil, ""},
		{[]string{"network.addresses=[198.51.100.10/24 dev eth0.7 vlan]", "network.gateway=[198.51.100.1]"}, nil, ""},
		{[]string{"network.addresses=[203.0.113.1/24]", "network.gateway="}, guest.ErrBusy, "address 203.0.113.1/24: is there already"},
		{[]string{"network.addresses=[198.51.100.10/24 nodev]"}, guest.ErrInvalid, "nodev, but the host has it not"},
		{[]string{"network.addresses=[198.51.100.10/24 dev eth7]"}, guest.ErrInvalid, "dev eth7: no such link"},
		{[]string{"network.addresses=[2001:db8::1/64 dev far0]"}, syscall.EACCES, "the link has no IPv6"},
		{[]string{"mounts=[/nowhere /mnt]"}, os.ErrNotExist, "/nowhere"},
		{[]string{"mounts=", "network.mode=private", "network.addresses=[198.51.100.10/24]"}, nil, ""},
		{[]string{"network.gateway=[192.0.2.1]"}, guest.ErrInvalid, "network.gateway: 192.0.2.1: is on no link"},
		{[]string{"network.gateway=", "network.addresses=[203.0.113.1/24]"}, guest.ErrInvalid, "address 203.0.113.1: is the host's own"},
		{[]string{"network.link=macvlan", "network.parent=eth7", "network.addresses=[203.0.113.7/24]"}, nil, "network.parent: eth7"},
		{[]string{"network.link=bridge", "network.parent=", "network.bridge=eth0"}, guest.ErrInvalid, "network.bridge: eth0 is a link of type veth"},
		{[]string{"network.bridge=", "network.link=", "network.addresses=", "network.mode=none"}, nil, ""},
	} {
		if _, err := w.Set(n, c.set); err != nil {
			t.Fatal(err)
		}
		err := Check(w.Host, n)
		if c.says == "" && c.is == nil {
			if err != nil {
				t.Errorf("%q: %v", c.set, err)
			}
		} else if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.set, err, c.says)
		}
	}
	sameAddrs(t, "it runs", before...)
	w.stop(n)
	if err := Check(w.Host, n); !errors.Is(err, guest.ErrStopped) {
		t.Errorf("stopped: %v", err)
	}
	sameAddrs(t, "it is stopped", "203.0.113.1/24")
}
