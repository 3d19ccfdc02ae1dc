package probe

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// networks are the features of guests' networks.
func networks() []feature {
	return []feature{
		{Result{Name: "veth",
			Gives:  "`network.mode: private`, the default of guests with addresses",
			Brings: "CONFIG_VETH, modprobe veth",
			Lost:   "guests have the host's network or none"},
			linkOf("veth")},
		{Result{Name: "bridge",
			Gives:  "guests as stations of a local network",
			Brings: "CONFIG_BRIDGE, modprobe bridge",
			Lost:   "guests are routed"},
			linkOf("bridge")},
		{Result{Name: "nftables",
			Gives:  "firewalls in guests",
			Brings: "CONFIG_NF_TABLES, modprobe nf_tables",
			Lost:   "iptables and nft do not work in guests"},
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

// ForwardDrops gives the netfilter chains of the host that drop forwarded packets
// unless a rule says otherwise, as "table chain": the traffic of private guests would
// be lost in them. Such a policy comes from other firewalls (Docker's, ufw's).
func ForwardDrops() ([]string, error) {
	if os.Geteuid() != 0 {
		return nil, errRoot
	}
	const getChain = 4 // NFT_MSG_GETCHAIN
	replies, err := ask(unix.NETLINK_NETFILTER, nftables|getChain, unix.NLM_F_DUMP, make([]byte, nfgenmsgLen))
	if err != nil {
		return nil, err
	}
	var drops []string
	for _, chain := range replies {
		if name, drop := forwardDrop(chain); drop {
			drops = append(drops, name)
		}
	}
	return drops, nil
}

const (
	nftables    = 10 << 8 // NFNL_SUBSYS_NFTABLES
	nfgenmsgLen = 4       // struct nfgenmsg: family u8, version u8, resource be16
)

// forwardDrop reads a chain as the kernel describes it.
func forwardDrop(chain []byte) (name string, drop bool) {
	// NFTA_CHAIN_* and NFTA_HOOK_*, linux/netfilter/nf_tables.h
	const chainTable, chainName, chainHook, chainPolicy, hookNum = 1, 3, 4, 5, 1
	const forward, policyDrop = 2, 0 // NF_INET_FORWARD, NF_DROP
	if len(chain) < nfgenmsgLen {
		return "", false
	}
	switch chain[0] {
	case unix.NFPROTO_INET, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6:
	default:
		return "", false
	}
	attrs := attributes(chain[nfgenmsgLen:])
	hook := attributes(attrs[chainHook])[hookNum]
	policy := attrs[chainPolicy]
	if len(hook) != 4 || len(policy) != 4 ||
		binary.BigEndian.Uint32(hook) != forward || binary.BigEndian.Uint32(policy) != policyDrop {
		return "", false
	}
	word := func(b []byte) string { return strings.TrimRight(string(b), "\x00") }
	return word(attrs[chainTable]) + " " + word(attrs[chainName]), true
}
