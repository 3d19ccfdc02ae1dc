package probe

import (
	"errors"

	"golang.org/x/sys/unix"
)

// networks are the features of guests' networks.
func networks() []feature {
	return []feature{
		{Result{Name: "veth",
			Gives:  "`network.mode: private`, guests with a network of their own",
			Brings: "CONFIG_VETH, modprobe veth",
			Lost:   "guests have addresses in the host's network or none"},
			linkOf("veth")},
		{Result{Name: "bridge",
			Gives:  "guests as stations of a local network",
			Brings: "CONFIG_BRIDGE, modprobe bridge",
			Lost:   "guests are routed"},
			linkOf("bridge")},
		{Result{Name: "nftables",
			Gives:  "`network.mode: private`, whose guests are held to their addresses by a rule; masquerade of the pool's addresses; firewalls in guests",
			Brings: "CONFIG_NF_TABLES and CONFIG_NFT_FIB_INET, modprobe nf_tables nft_fib_inet",
			Lost:   "guests have addresses in the host's network or none, and those of the pool reach the host alone"},
			func(*ground) (string, error) {
				return "", apart(unix.CLONE_NEWNET, func() error {
					const getGen = 16 // NFT_MSG_GETGEN, linux/netfilter/nf_tables.h
					_, err := ask(unix.NETLINK_NETFILTER, nftables|getGen, 0, make([]byte, nfgenmsgLen))
					return err
				})
			}},
		{Result{Name: "ipv6",
			Gives:  "IPv6 addresses of guests",
			Brings: "CONFIG_IPV6, without boot option ipv6.disable=1",
			Lost:   "guests have IPv4 alone"},
			func(*ground) (string, error) {
				fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err == nil {
					unix.Close(fd)
				}
				return "", err
			}},
	}
}

// linkOf probes for a kind of network device by making one in a network namespace
// that nobody else is in. Modules are loaded by asking.
func linkOf(kind string) func(*ground) (string, error) {
	return func(*ground) (string, error) {
		const infoKind, linkInfo = 1, 18 // IFLA_INFO_KIND, IFLA_LINKINFO, linux/if_link.h
		body := make([]byte, unix.SizeofIfInfomsg)
		body = append(body, attribute(linkInfo, attribute(infoKind, []byte(kind)))...)
		err := apart(unix.CLONE_NEWNET, func() error {
			_, err := ask(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, body)
			return err
		})
		if err == unix.EOPNOTSUPP {
			err = errors.New("not in this kernel")
		}
		return "", err
	}
}

const (
	nftables    = 10 << 8 // NFNL_SUBSYS_NFTABLES
	nfgenmsgLen = 4       // struct nfgenmsg: family u8, version u8, resource be16
)
