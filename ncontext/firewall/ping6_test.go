package firewall

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"
	"testing"
)

// Pings that are sent unbound get the source that their mark stands for, and no others.
func TestPingSources(t *testing.T) {
	w := newWorld(t)
	w.address("up0", "198.51.100.8/24", "2001:db8::8/64", "2001:db8::9/64")
	must(t, os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0))
	lback := netip.MustParseAddr("127.0.8.1")
	must(t, Ping(lback, netip.Addr{}))
	must(t, Ping(lback, netip.MustParseAddr("2001:db8::8")))
	must(t, Ping(lback, netip.MustParseAddr("2001:db8::8")))
	must(t, syscall.Setfsuid(1<<16))
	six := "2001:db8::99"
	for _, c := range []struct {
		family   int
		mark     string
		to, from string
	}{
		{syscall.AF_INET, "198.51.100.8", "198.51.100.99", "198.51.100.8"}, {syscall.AF_INET, "", "198.51.100.99", "198.51.100.1"},
		{syscall.AF_INET6, "127.0.8.1", six, "2001:db8::8"}, {syscall.AF_INET6, "127.0.9.1", six, ""},
	} {
		if got := w.echoed(c.family, c.mark, c.to); got != c.from && (c.from != "" || got == "2001:db8::8") {
			t.Errorf("mark %q: from %q, want %s", c.mark, got, c.from)
		}
	}
	must(t, syscall.Setfsuid(0))
	must(t, Ping(lback, netip.MustParseAddr("2001:db8::9")))
	must(t, syscall.Setfsuid(1<<16))
	if got := w.echoed(syscall.AF_INET6, "127.0.8.1", six); got != "2001:db8::9" {
		t.Errorf("from %q after a change", got)
	}
	must(t, syscall.Setfsuid(0))
}

// echoed asks a machine for an echo by a marked socket, and gives where the machine's
// answer went to.
func (w *world) echoed(family int, mark, to string) string {
	w.t.Helper()
	protocol, echo := syscall.IPPROTO_ICMP, []byte{8, 0, 0, 0, 0, 0, 0, 1}
	level, option := syscall.IPPROTO_IP, syscall.IP_PKTINFO
	a := netip.MustParseAddr(to)
	var sa syscall.Sockaddr = nil
	if family == syscall.AF_INET6 {
		protocol, echo[0], level, option = syscall.IPPROTO_ICMPV6, 128, syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO
		sa = &syscall.SockaddrInet6{Addr: a.As16()}
	} else {
		sa = &syscall.SockaddrInet4{Addr: a.As4()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM, protocol)
	must(w.t, err)
	defer syscall.Close(fd)
	must(w.t, syscall.SetsockoptInt(fd, level, option, 1))
	must(w.t, syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 2}))
	if mark != "" {
		m := netip.MustParseAddr(mark).As4()
		must(w.t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_MARK, int(binary.NativeEndian.Uint32(m[:]))))
	}
	must(w.t, syscall.Sendto(fd, echo, 0, sa))
	control := make([]byte, 99)
	_, n, _, _, err := syscall.Recvmsg(fd, echo, control, 0)
	if err != nil {
		return err.Error()
	}
	list, err := syscall.ParseSocketControlMessage(control[:n])
	must(w.t, err)
	for _, m := range list {
		if family == syscall.AF_INET && m.Header.Type == syscall.IP_PKTINFO {
			return netip.AddrFrom4([4]byte(m.Data[8:])).String()
		} else if family == syscall.AF_INET6 {
			return netip.AddrFrom16([16]byte(m.Data)).String()
		}
	}
	return "nowhere"
}
