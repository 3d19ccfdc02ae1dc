package seccomp

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// extra is what is let through beyond the table.
type extra struct {
	calls                 []nr
	families, ip, netlink []uint32
	bits32                bool
	flags                 bool // FileFlags
}

// nr is a system call of an architecture.
type nr struct{ arch, n uint32 }

func (e extra) has(arch, n uint32) bool { return slices.Contains(e.calls, nr{arch, n}) }

// Known refuses words that Policy.Extra cannot have.
func Known(extra []string) error {
	_, err := parse(extra)
	return err
}

// parse reads the words of Policy.Extra.
func parse(list []string) (extra, error) {
	var e extra
	for _, word := range list {
		if word == Bits32 && sibling().arch != 0 {
			e.bits32 = true
			continue
		}
		if word == FileFlags {
			e.flags = e.call("file_setattr")
			continue
		}
		if !e.call(word) && !e.number(word) {
			return extra{}, fmt.Errorf("system call %q: not known; did you mean %s?", word, nearest(word))
		}
	}
	return e, nil
}

// call takes the name of a system call.
func (e *extra) call(word string) (known bool) {
	if word == "" || strings.Contains(word, " ") {
		return false
	}
	for _, a := range []abi{native(), sibling()} {
		for _, b := range a.blocks {
			if n, ok := b.find(word); ok {
				e.calls = append(e.calls, nr{a.arch, n})
				known = true
			}
		}
	}
	return known
}

// find gives the number of a name.
func (b block) find(name string) (uint32, bool) {
	i := strings.Index(b.names, " "+name+" ")
	if i < 0 {
		return 0, false
	}
	return b.first + uint32(strings.Count(b.names[:i], " ")), true
}

// number takes the name of a family or protocol.
func (e *extra) number(word string) (known bool) {
	for _, l := range []struct {
		words []named
		to    *[]uint32
	}{{families(), &e.families}, {ipProtocols(), &e.ip}, {netlinks(), &e.netlink}} {
		for _, w := range l.words {
			if w.name == word {
				*l.to = append(*l.to, w.n)
				return true
			}
		}
	}
	return false
}

// named is a constant of C by its name.
type named struct {
	name string
	n    uint32
}

// families are the socket families that can be let in.
func families() []named {
	return []named{
		{"AF_ALG", unix.AF_ALG}, {"AF_BLUETOOTH", unix.AF_BLUETOOTH}, {"AF_CAN", unix.AF_CAN},
		{"AF_KEY", unix.AF_KEY}, {"AF_PACKET", unix.AF_PACKET}, {"AF_PPPOX", unix.AF_PPPOX},
		{"AF_QIPCRTR", unix.AF_QIPCRTR}, {"AF_RDS", unix.AF_RDS}, {"AF_RXRPC", unix.AF_RXRPC},
		{"AF_SMC", unix.AF_SMC}, {"AF_TIPC", unix.AF_TIPC}, {"AF_VSOCK", unix.AF_VSOCK},
		{"AF_XDP", unix.AF_XDP},
	}
}

// ipProtocols are the protocols of AF_INET and AF_INET6 that can be let in.
func ipProtocols() []named {
	return []named{
		{"IPPROTO_DCCP", unix.IPPROTO_DCCP}, {"IPPROTO_L2TP", unix.IPPROTO_L2TP},
		{"IPPROTO_MPTCP", unix.IPPROTO_MPTCP}, {"IPPROTO_SCTP", unix.IPPROTO_SCTP},
		{"IPPROTO_UDPLITE", unix.IPPROTO_UDPLITE},
	}
}

// netlinks are the protocols of AF_NETLINK that can be let in.
func netlinks() []named {
	return []named{
		{"NETLINK_AUDIT", unix.NETLINK_AUDIT}, {"NETLINK_CONNECTOR", unix.NETLINK_CONNECTOR},
		{"NETLINK_CRYPTO", unix.NETLINK_CRYPTO}, {"NETLINK_FIB_LOOKUP", unix.NETLINK_FIB_LOOKUP},
		{"NETLINK_GENERIC", unix.NETLINK_GENERIC}, {"NETLINK_ISCSI", unix.NETLINK_ISCSI}, {"NETLINK_RDMA", unix.NETLINK_RDMA},
		{"NETLINK_SELINUX", unix.NETLINK_SELINUX}, {"NETLINK_USERSOCK", unix.NETLINK_USERSOCK},
		{"NETLINK_XFRM", unix.NETLINK_XFRM},
	}
}

// Words are all that [Policy].Extra can hold, for completion and messages.
func Words() []string {
	words := []string{}
	for _, a := range []abi{native(), sibling()} {
		for _, b := range a.blocks {
			words = append(words, strings.Fields(b.names)...)
		}
	}
	if sibling().arch != 0 {
		words = append(words, Bits32)
	}
	words = append(words, FileFlags)
	for _, list := range [][]named{families(), ipProtocols(), netlinks()} {
		for _, w := range list {
			words = append(words, w.name)
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// nearest gives the word that takes the fewest changes of letters to become word.
func nearest(word string) string {
	best, least := "", len(word)+1000
	for _, w := range Words() {
		if d := min(distance(word, w), 1+distance(strings.ToLower(word), strings.ToLower(w))); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
