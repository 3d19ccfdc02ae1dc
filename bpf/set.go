package bpf

import (
	"strconv"

	"vserver/kernel/ebpf"
)

// Version is the number of the programs of network contexts: one more whenever one of
// them changes, so that a tool knows what it finds from what it would put there.
const Version = 30

// MapsVersion is the number of the maps and what they hold: programs of different ones
// cannot share them.
const MapsVersion = 8

// Prefix is what the name of each program begins with, before the version.
const Prefix = "vs"

// LookupHook is where the one program hangs that hangs on no cgroup: BPF_SK_LOOKUP of
// linux/bpf.h.
const LookupHook = 36

// Program is one program of the set.
type Program struct {
	Name string // of at most 15 bytes, with the version in it
	Hook ebpf.Hook
	Text func(Parts) []ebpf.Instruction
	// Extra tells that it closes what is open on a kernel that has no such hook, or no
	// type information to write the program with: see Extras.
	Extra bool
}

// Extras tells whether the running kernel takes the programs with Extra.
func (p Parts) Extras() bool { return p.Unix != Sockets{} }

// Set is the programs of a network context. They hang on a cgroup; one,
// Lookup, on a network namespace. The order is one in which they may be attached: what
// enforces comes first.
func Set() []Program {
	// From linux/bpf.h: the types of programs, and where they are attached.
	const skb, sock, ops, address, option, lookup = 8, 9, 13, 18, 25, 30
	on := func(name string, kind, attach uint32, text func(Parts) []ebpf.Instruction) Program {
		return Program{Prefix + strconv.Itoa(Version) + "_" + name, ebpf.Hook{Type: kind, Attach: attach}, text, false}
	}
	extra := func(name string, kind, attach uint32, text func(Parts) []ebpf.Instruction) Program {
		p := on(name, kind, attach, text)
		p.Extra = true
		return p
	}
	return []Program{
		on("egress", skb, 1, Egress),
		on("ingress", skb, 0, Ingress),
		on("create", sock, 2, Create),
		on("release", sock, 34, Release),
		on("bind4", address, 8, Bind4),
		on("bind6", address, 9, Bind6),
		on("post_bind4", sock, 12, PostBind4),
		on("post_bind6", sock, 13, PostBind6),
		on("connect4", address, 10, Connect4),
		on("connect6", address, 11, Connect6),
		on("sendmsg4", address, 14, Sendmsg4),
		on("sendmsg6", address, 15, Sendmsg6),
		on("recvmsg4", address, 19, Shown4),
		on("recvmsg6", address, 20, Shown6),
		on("peername4", address, 29, Shown4),
		on("peername6", address, 30, Shown6),
		on("sockname4", address, 31, Named4),
		on("sockname6", address, 32, Named6),
		on("setsockopt", option, 22, Setsockopt),
		on("sockops", ops, 3, SockOps),
		on("lookup", lookup, LookupHook, Lookup),
		extra("connect_u", address, 49, Unix),
		extra("sendmsg_u", address, 50, Unix),
	}
}
