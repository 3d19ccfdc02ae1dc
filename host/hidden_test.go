package host

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// hidden makes a guest with hide_netif that runs the script.
func (w *world) hidden(n guest.Name, script string) guest.Name {
	return w.guest(n, func(s *guest.Spec) {
		s.Network = guest.Network{Mode: guest.NetShared, Flags: []string{"hide_netif"}}
		for _, word := range []string{"10.1.2.3/24", "2001:db8::3/64"} {
			a, err := guest.ParseAddress(word)
			if err != nil {
				w.t.Fatal(err)
			}
			s.Network.Addresses = append(s.Network.Addresses, a)
		}
		s.Init.Command = []string{"/bin/sh", "-c", script}
	})
}

// servers gives the pids of a guest's servers of sockets.
func (w *world) servers(n guest.Name) []int {
	w.t.Helper()
	cg, err := cgroup.Find()
	if err != nil {
		w.t.Fatal(err)
	}
	g, err := cg.Open(w.Dirs.Group(n))
	if err != nil {
		return nil
	}
	defer g.Close()
	pids, err := g.Servers()
	if err != nil {
		w.t.Fatal(err)
	}
	return pids
}

// eventually waits until ok says so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

// A guest with hide_netif sees its own addresses and nothing else, and reaches the
// host's network by sockets that are handed in.
func TestHidden(t *testing.T) {
	w := newNet(t)
	sh(t, "ip link add hostonly type bridge; ip addr add 10.9.9.9/24 dev hostonly; ip link set hostonly up")
	n := w.hidden("web1", "sleep 1000")
	w.start(n)
	for line, want := range map[string]string{
		"ip -o addr | grep -v inet6 | awk '{print $2, $4}'":     "lo 127.0.0.1/8\neth0 10.1.2.3/24\n",
		"ip -o addr | grep inet6 | awk '{print $2, $4}'":        "lo ::1/128\neth0 2001:db8::3/64\n",
		"ip -6 route | grep default | awk '{print $1, $2, $3}'": "default dev eth0\n",
		"ip route":                       "default dev eth0 scope link  src 10.1.2.3 \n",
		"ls /sys/class/net":              "eth0\nlo\n",
		"grep -c : /proc/net/tcp":        "0\n",
		"ifconfig | grep 'inet addr'":    "          inet addr:10.1.2.3  Bcast:10.1.2.255  Mask:255.255.255.0\n          inet addr:127.0.0.1  Mask:255.0.0.0\n",
		"nc 127.0.0.1 1 2>&1":            "nc: can't connect to remote host (127.0.0.1): Connection refused\n",
		"ip link set hostonly down 2>&1": "ip: SIOCGIFFLAGS: No such device\n",
	} {
		if out, _ := w.sh(n, line); out != want {
			t.Errorf("%s: %q, want %q", line, out, want)
		}
	}
	w.talks(n)
	w.repainted(n)
	// The guest has one server, and its commands' are gone with them.
	eventually(t, "one server", func() bool { return len(w.servers(n)) == 1 })
	if st, err := w.Status(n); err != nil || st.State != guest.Running || st.Processes != 2 {
		t.Errorf("status: %+v, %v", st, err)
	}
	w.stop(n)
	w.nothing(n)
}

// repainted changes the guest's addresses: it sees that.
func (w *world) repainted(n guest.Name) {
	w.t.Helper()
	look := func(want ...string) {
		w.t.Helper()
		if out, _ := w.sh(n, "ip -o addr show eth0 | awk '{print $4}'; ip route"); out != strings.Join(want, "\n")+"\n" {
			w.t.Errorf("the guest sees %q, want %q", out, want)
		}
	}
	change := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Error(err)
		}
	}
	more, err := guest.ParseAddress("10.1.2.4/24 dev hostonly")
	change(err)
	first, err := guest.ParseAddress("10.1.2.3/24")
	change(err)
	change(w.NetAdd(n, more, NetOptions{}))
	look("10.1.2.3/24", "10.1.2.4/24", "2001:db8::3/64", "default dev eth0 scope link  src 10.1.2.3 ")
	change(w.NetDel(n, first.Addr(), NetOptions{}))
	look("10.1.2.4/24", "2001:db8::3/64", "default dev eth0 scope link  src 10.1.2.4 ")
	change(w.NetAdd(n, first, NetOptions{}))
	change(w.NetDel(n, more.Addr(), NetOptions{}))
	look("10.1.2.3/24", "2001:db8::3/64", "default dev eth0 scope link  src 10.1.2.3 ")
}

// talks has the host and the guest call each other: the guest's sockets are the host's,
// under the guest's network context.
func (w *world) talks(n guest.Name) {
	w.t.Helper()
	w.sh(n, "nc -l -p 7080 </dev/null >/tmp/got 2>&1 &") // outlives the command that began it
	var c net.Conn
	eventually(w.t, "a listener", func() (ok bool) {
		var err error
		c, err = net.Dial("tcp", "10.1.2.3:7080")
		return err == nil
	})
	if _, err := net.Dial("tcp", "10.9.9.9:7080"); err == nil {
		w.t.Error("the guest listens on the host's address")
	}
	c.Write([]byte("hello"))
	c.Close()
	eventually(w.t, "the host's greeting", func() bool {
		got, _ := w.sh(n, "cat /tmp/got")
		return got == "hello"
	})
	l, err := net.Listen("tcp", "10.9.9.9:81")
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	w.sh(n, "nc 10.9.9.9 81 </dev/null >/dev/null 2>&1 &")
	from, err := l.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	defer from.Close()
	if at := from.RemoteAddr().(*net.TCPAddr).IP.String(); at != "10.1.2.3" {
		w.t.Errorf("the guest came as %s", at)
	}
}

// A server that is killed is replaced by vserverd, also by the next one when vserverd
// was killed as a whole before; the guest waits, and nothing goes wrong in it.
func TestHiddenServersKilled(t *testing.T) {
	w := newNet(t)
	// Each round makes a socket; whatever comes but a refused connection is noted.
	n := w.hidden("web1", "cd /tmp; i=0; while :; do nc 127.0.0.1 1 2>&1 | grep -v refused >> bad; i=$((i+1)); echo $i > n; done")
	w.start(n)
	tmp := filepath.Join(w.Dirs.Guest(n), "upper/tmp")
	count := func() (i int) {
		eventually(t, "a count", func() bool { // empty while it is being written
			text, _ := os.ReadFile(filepath.Join(tmp, "n"))
			i, _ = strconv.Atoi(strings.TrimSpace(string(text)))
			return i > 0
		})
		return i
	}
	goesOn := func(what string) {
		t.Helper()
		before := count()
		eventually(t, "another socket after "+what, func() bool { return count() > before+3 })
	}
	goesOn("the start")
	for range 5 {
		for _, pid := range w.servers(n) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		goesOn("a server's death")
	}
	w.killSupervisors()
	goesOn("vserverd's death")
	eventually(t, "a vserverd that watches it", func() bool {
		if out, code := w.sh(n, "nc 127.0.0.1 1 2>&1; sleep 0.5"); !strings.Contains(out, "refused") { // long enough to wake one
			t.Fatalf("exec: %q, %d", out, code)
		}
		all, err := proto.List(w.Dirs)
		return err == nil && len(all) == 1
	})
	eventually(t, "one server", func() bool { return len(w.servers(n)) == 1 })
	old := w.servers(n)[0]
	syscall.Kill(old, syscall.SIGKILL)
	goesOn("a server's death under the next vserverd")
	st, err := w.Status(n)
	if err != nil || st.Problem != "" {
		text, _ := os.ReadFile(filepath.Join(w.Dirs.Run, "vserverd.log"))
		t.Fatalf("status: %+v, %v; vserverd's log:\n%s", st, err, text)
	}
	w.killSupervisors()
	syscall.Kill(w.servers(n)[0], syscall.SIGKILL) // and with it the last that could answer
	eventually(t, "word of the loss", func() bool { st, _ := w.Status(n); return strings.Contains(st.Problem, "sockets") })
	bad := func() string { text, _ := os.ReadFile(filepath.Join(tmp, "bad")); return string(text) }
	eventually(t, "a refusal", func() bool { return bad() != "" })
	for _, line := range strings.Split(strings.TrimSpace(bad()), "\n") {
		if line != "nc: socket: Function not implemented" {
			t.Errorf("went wrong: %s", line)
		}
	}
	w.stop(n)
	w.nothing(n)
}

// killSupervisors ends the world's vserverd: its two processes start each other.
func (w *world) killSupervisors() {
	w.t.Helper()
	none := 0 // times in a row: one that is just being executed has no command line
	eventually(w.t, "no vserverd", func() bool {
		none++
		for _, pid := range w.supervisors() {
			syscall.Kill(pid, syscall.SIGKILL)
			none = 0
		}
		return none == 3
	})
}

// supervisors are the processes of the world's vserverd.
func (w *world) supervisors() []int {
	var out []int
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		line, _ := os.ReadFile(p)
		if strings.HasPrefix(string(line), "vserverd\x00") && strings.Contains(string(line), "="+w.root+"/") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			out = append(out, pid)
		}
	}
	return out
}

// TestHiddenLink: the link that a guest with hide_netif sees has the number of the host's,
// by which its programs tell their sockets where to join a group.
func TestHiddenLink(t *testing.T) {
	w := newNet(t)
	ip := func(words string) {
		if out, err := command(need.Command(t, "ip"), strings.Fields(words)...); err != nil {
			t.Fatalf("%s: %v: %s", words, err, out)
		}
	}
	ip("link add d77 index 77 type veth peer name e77")
	ip("addr add 10.1.2.1/24 dev d77")
	ip("link set d77 up")
	n := w.hidden("web1", "sleep 1000")
	w.start(n)
	if out, _ := w.sh(n, "cat /sys/class/net/eth0/ifindex"); out != "77\n" {
		t.Errorf("the guest's link is number %q", out)
	}
	w.stop(n)
	ip("addr del 10.1.2.1/24 dev d77")
	w.start(n) // at lo, whose number the guest's own lo has
	if out, _ := w.sh(n, "cat /sys/class/net/eth0/ifindex"); out == "1\n" || out == "77\n" {
		t.Errorf("the guest's link is number %q", out)
	}
}
