package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// changeRows change the network: rows 21 and 24 of the list.
func (p *prober) changeRows() {
	host, own := netip.MustParseAddr(p.Host4).AsSlice(), netip.MustParseAddr("203.0.113.77").AsSlice()
	for _, c := range []struct {
		what        string
		kind, flags uint16
		body        []byte
	}{
		{"add address", unix.RTM_NEWADDR, unix.NLM_F_CREATE, append([]byte{unix.AF_INET, 32, 0, 0, 1, 0, 0, 0}, attribute(unix.IFA_LOCAL, own)...)},
		{"take address", unix.RTM_DELADDR, 0, append([]byte{unix.AF_INET, 24, 0, 0, 2, 0, 0, 0}, attribute(unix.IFA_LOCAL, host)...)},
		{"add route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE, append([]byte{unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, 0, 0, unix.RTN_BLACKHOLE, 0, 0, 0, 0}, attribute(unix.RTA_PRIORITY, []byte{9, 9, 0, 0})...)},
		{"take route", unix.RTM_DELROUTE, 0, append([]byte{unix.AF_INET, 24, 0, 0, unix.RT_TABLE_MAIN, 0, 0, 0, 0, 0, 0, 0}, attribute(unix.RTA_DST, []byte{198, 51, 100, 0})...)},
		{"add rule", unix.RTM_NEWRULE, unix.NLM_F_CREATE, []byte{unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, 0, 0, 1, 0, 0, 0, 0}},
		{"add link", unix.RTM_NEWLINK, unix.NLM_F_CREATE, append(make([]byte, 16), attribute(unix.IFLA_LINKINFO|1<<15, attribute(1, []byte("dummy\x00")))...)},
		{"link down", unix.RTM_NEWLINK, 0, append([]byte{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, attribute(unix.IFLA_MTU, []byte{0, 4, 0, 0})...)},
		{"add neighbour", unix.RTM_NEWNEIGH, unix.NLM_F_CREATE, append([]byte{unix.AF_INET, 0, 0, 0, 2, 0, 0, 0, 0x80, 0, 0, 0}, attribute(1, own)...)},
		{"add qdisc", unix.RTM_NEWQDISC, unix.NLM_F_CREATE, append([]byte{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 255, 255, 255, 255, 0, 0, 0, 0}, attribute(1, []byte("pfifo\x00"))...)},
	} {
		p.try("change "+c.what, func() (string, error) {
			return "", p.netlink(unix.NETLINK_ROUTE, c.kind, c.flags|unix.NLM_F_ACK, c.body, func([]byte) {})
		})
	}
	p.try("change nft", func() (string, error) {
		const newTable = 10 << 8 // of NFNL_SUBSYS_NFTABLES
		return "", p.netlink(unix.NETLINK_NETFILTER, newTable, unix.NLM_F_ACK, []byte{unix.AF_INET, 0, 0, 0}, func([]byte) {})
	})
	for _, c := range []struct {
		what string
		req  uint
		link string
	}{
		{"flags", unix.SIOCSIFFLAGS, "lo"}, {"address", unix.SIOCSIFADDR, "eth0"}, {"mtu", unix.SIOCSIFMTU, "eth0"}, {"name", unix.SIOCSIFNAME, "eth0"},
		{"bridge", unix.SIOCBRADDBR, "brx"}, {"bridges", unix.SIOCGIFBR, ""}, {"vlan", 0x8982, "\x09\x00\x00\x00eth0"}, {"arp", unix.SIOCDARP, ""}, {"route", unix.SIOCADDRT, ""}, {"namespace", unix.SIOCGSKNS, ""},
	} {
		p.try("ioctl "+c.what, func() (string, error) {
			b := make([]byte, 200)
			copy(b, c.link)
			fd, err := p.socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err == nil {
				err = request(fd, c.req, b)
			}
			return "", err
		})
	}
	for _, path := range []string{"ipv4/ip_forward", "ipv4/ip_nonlocal_bind", "ipv4/ping_group_range", "ipv4/ip_local_port_range", "ipv4/conf/all/rp_filter", "ipv6/conf/all/forwarding", "core/somaxconn"} {
		p.try("sysctl "+path, func() (string, error) {
			path = "/proc/sys/net/" + path
			was, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, was, 0)
			}
			return "", err
		})
	}
}

// attribute is one of netlink's, padded.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// escapeRows leave the place that the rules hang on, and try again: rows 34 to 37 of
// the list.
func (p *prober) escapeRows() {
	again := func() (string, error) {
		fd, err := p.socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err == nil {
			err = unix.Bind(fd, at(unix.AF_INET, p.Host4, 0))
		}
		return "bound", err
	}
	p.try("escape descriptors", func() (string, error) { return inherited() })
	p.try("escape setns", func() (string, error) {
		f, err := os.Open("/proc/1/ns/net")
		if err != nil {
			return "", err
		}
		defer f.Close()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return "", err
		}
		return again()
	})
	p.try("escape cgroup", func() (string, error) { return subgroup(again) })
	p.try("escape cgroup above", func() (string, error) {
		return "", os.WriteFile("/sys/fs/cgroup/../cgroup.procs", []byte("0"), 0)
	})
	p.try("escape new user", func() (string, error) {
		_, err := raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
		return "", err
	})
	p.try("escape new net", p.ownNet)
}

// inherited lists the sockets among our open files.
func inherited() (string, error) {
	list, err := os.ReadDir("/proc/self/fd")
	var found []string
	for _, e := range list {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && strings.HasPrefix(to, "socket:") {
			found = append(found, to)
		}
	}
	return fmt.Sprint(len(found), " sockets"), err
}

// subgroup does something in a cgroup of our own below the guest's.
func subgroup(do func() (string, error)) (string, error) {
	const top = "/sys/fs/cgroup/"
	if err := os.Mkdir(top+Name, 0o755); err != nil {
		return "", err
	}
	defer os.Remove(top + Name)
	if err := os.WriteFile(top+Name+"/cgroup.procs", []byte("0"), 0); err != nil {
		return "", err
	}
	defer os.WriteFile(top+"cgroup.procs", []byte("0"), 0)
	return do()
}

// ownNet makes a network namespace and puts one end of a cable into that of pid 1.
func (p *prober) ownNet() (string, error) {
	end := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the function
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err != nil {
			end <- fmt.Errorf("unshare %w", err)
			return
		}
		one := []byte{1, 0, 0, 0}
		peer := append(make([]byte, 16), attribute(unix.IFLA_NET_NS_PID, one)...)
		veth := append(attribute(1, []byte("veth\x00")), attribute(2|1<<15, attribute(1|1<<15, peer))...)
		body := append(make([]byte, 16), attribute(unix.IFLA_LINKINFO|1<<15, veth)...)
		end <- p.netlink(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, body, func([]byte) {})
	}()
	return "", <-end
}
