package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// seeRows look at what the network is: rows 20, 22, 23 and 24 of the list. They say
// whose things there are to see.
func (p *prober) seeRows() {
	for _, d := range []struct {
		what    string
		request int
	}{{"addresses", unix.RTM_GETADDR}, {"links", unix.RTM_GETLINK}, {"routes", unix.RTM_GETROUTE}, {"neighbours", unix.RTM_GETNEIGH}} {
		p.try("dump "+d.what, func() (string, error) {
			list, err := syscall.NetlinkRIB(d.request, unix.AF_UNSPEC)
			if d.what == "links" {
				return p.whose(bytes.Contains(list, []byte(p.Link+"\x00")), len(list) > 0), err
			}
			return p.shown(list), err
		})
	}
	for _, protocol := range []int{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		p.try("sock_diag "+digits(protocol), func() (string, error) { return p.diagnosed(byte(protocol)) })
	}
	p.try("sock_diag destroy", p.destroyed)
	for _, path := range []string{"net/tcp", "net/udp", "net/unix", "net/fib_trie", "net/if_inet6", "net/dev", "net/arp"} {
		for _, dir := range []string{"/proc/", "/proc/self/", "/proc/1/"} {
			p.try("read "+dir+path, func() (string, error) { return p.file(dir + path) })
		}
	}
	p.try("read /sys/class/net", func() (string, error) {
		list, err := os.ReadDir("/sys/class/net")
		return p.whose(slices.ContainsFunc(list, func(e os.DirEntry) bool { return e.Name() == p.Link }), len(list) > 0), err
	})
	p.try("siocgifconf", p.configured)
	p.try("siocgifaddr", func() (string, error) {
		b := make([]byte, 40)
		copy(b, "eth0")
		fd, err := p.socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err == nil {
			err = request(fd, unix.SIOCGIFADDR, b)
		}
		return p.shown(b), err
	})
}

// whose is the answer to what can be seen.
func (p *prober) whose(host, any bool) string {
	switch {
	case host:
		return "the host's"
	case any:
		return "own"
	}
	return "nothing"
}

// shown says whose addresses are in an answer of the kernel's.
func (p *prober) shown(b []byte) string {
	has := func(list ...string) bool {
		return slices.ContainsFunc(list, func(a string) bool { return a != "" && bytes.Contains(b, netip.MustParseAddr(a).AsSlice()) })
	}
	return p.whose(has(p.Host4, p.Host6, p.Near4, p.Near6), has(p.Own4, p.Own6, p.Also4))
}

// diagnosed asks for all sockets of a protocol.
func (p *prober) diagnosed(protocol byte) (string, error) {
	const byFamily, size = 20, 56 // SOCK_DIAG_BY_FAMILY; struct inet_diag_req_v2
	ask := make([]byte, size)
	ask[0], ask[1] = unix.AF_INET, protocol
	binary.NativeEndian.PutUint32(ask[4:], 0xffffffff)
	any, host := false, false
	err := p.netlink(unix.NETLINK_INET_DIAG, byFamily, unix.NLM_F_DUMP, ask, func(b []byte) {
		any = true
		n := int(binary.BigEndian.Uint16(b[4:]))
		host = host || n == p.HostOnly || n == p.NearOnly
	})
	return p.whose(host, any), err
}

// destroyed ends the host's listener: struct inet_diag_req_v2 as ss -K has it.
func (p *prober) destroyed() (string, error) {
	const destroy, size = 21, 56 // SOCK_DESTROY
	ask := make([]byte, size)
	ask[0], ask[1] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(ask[4:], 0xffffffff)
	binary.BigEndian.PutUint16(ask[8:], uint16(p.HostOnly))
	copy(ask[12:], netip.MustParseAddr("127.0.0.1").AsSlice())
	binary.NativeEndian.PutUint64(ask[48:], 1<<64-1) // whatever its cookie
	return "", p.netlink(unix.NETLINK_INET_DIAG, destroy, unix.NLM_F_ACK, ask, func([]byte) {})
}

// file reads one of the tables of /proc/net.
func (p *prober) file(path string) (string, error) {
	b, err := os.ReadFile(path)
	text := string(b)
	host4 := netip.MustParseAddr(p.Host4).As4()
	words := []string{
		p.Host4, strings.ReplaceAll(netip.MustParseAddr(p.Host6).StringExpanded(), ":", ""), "@" + p.Socket, p.Link + ":",
		fmt.Sprintf(":%04X", p.HostOnly), fmt.Sprintf(":%04X", p.NearOnly), fmt.Sprintf("%08X", binary.NativeEndian.Uint32(host4[:])),
	}
	host := slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
	return p.whose(host, strings.Count(text, "\n") > 1), err
}

// configured asks by the oldest of the ioctls.
func (p *prober) configured() (string, error) {
	const size = 4000
	buf, ask := make([]byte, size), make([]byte, 16) // struct ifconf
	binary.NativeEndian.PutUint32(ask, size)
	binary.NativeEndian.PutUint64(ask[8:], uint64(uintptr(unsafe.Pointer(&buf[0]))))
	fd, err := p.socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err == nil {
		err = request(fd, unix.SIOCGIFCONF, ask)
	}
	runtime.KeepAlive(buf)
	return p.shown(buf), err
}

// netlink sends one request and gives the body of each answer until the last.
func (p *prober) netlink(protocol int, kind, flags uint16, body []byte, each func([]byte)) error {
	fd, err := p.socket(unix.AF_NETLINK, unix.SOCK_RAW, protocol)
	if err != nil {
		return err
	}
	impatient(fd)
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, flags|unix.NLM_F_REQUEST)
	m = append(append(m, make([]byte, 8)...), body...)
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return err
		}
		list, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return err
		}
		for _, m := range list {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				return number(unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data))))
			}
			each(m.Data)
		}
	}
}
