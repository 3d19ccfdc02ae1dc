package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Numbers that package syscall does not have, from linux/in.h, linux/in6.h and
// asm-generic/socket.h.
const (
	soBindToIfindex         = 62
	ipUnicastIf             = 50
	ipv6UnicastIf           = 76
	ipv6RoutingHeader       = 57
	ipv6FlowlabelMgr        = 32
	ipAddMembership         = 35
	ipAddSource             = 39
	mcastJoinGroup          = 42
	mcastJoinSource         = 46
	ipv6JoinAnycast         = 27
	ipv6AddMembership       = 20
	ipTransparent           = 19
	ipv6Transparent         = 75
	ipMulticastIf           = 32
	ipv6MulticastIf         = 17
	tcpULP                  = 31
	udpEncap                = 100
	solUDP                  = syscall.IPPROTO_UDP
	protocolICMP6           = 58
	sockOpsActive           = 4
	sockOpsPassive          = 5
	sockOpsState            = 10
	sockOpsListen           = 11
	sockOpsStateFlag        = 4
	tcpClosed               = 7
	tcpEstablished          = 1 // of UDP too: connected
	listenerSlots           = 8
	alreadyThere            = -int32(syscall.EEXIST)
	lookupPass              = 1
	solSocket, solIP        = syscall.SOL_SOCKET, syscall.SOL_IP
	solIPv6, solTCP         = syscall.SOL_IPV6, syscall.SOL_TCP
	familyFour              = syscall.AF_INET
	familySix               = syscall.AF_INET6
	ethernetFour            = 0x0800
	ethernetSix             = 0x86dd
	protocolUDP       int32 = syscall.IPPROTO_UDP
)

// Create is socket(2) of the families of IP. TCP, UDP and, with RawICMP, ICMP without
// raw packets are there, all else is EPROTONOSUPPORT, as on a kernel that lacks it:
// MPTCP, SCTP and UDP-Lite know addresses that no hook sees. What is made is counted; a
// guest with a limit that has reached it gets ENOBUFS. One for pings is marked with the
// guest's first address of IPv4, one for those of IPv6 with its loopback, from which
// package firewall makes the source of what is sent unbound: no hook could.
func Create(p Parts) []ebpf.Instruction {
	t := write(p)
	bad := t.refusal(syscall.EPROTONOSUPPORT)
	t.guest("shut")
	t.load(r1, ctx, skType)
	t.load(r2, ctx, skProtocol)
	t.is(r1, syscall.SOCK_STREAM, "stream")
	t.isnt(r1, syscall.SOCK_DGRAM, bad)
	t.is(r2, syscall.IPPROTO_UDP, "count")
	t.is(r2, syscall.IPPROTO_ICMP, "icmp")
	t.isnt(r2, protocolICMP6, bad)
	t.here("icmp")
	t.flag(RawICMP, "ping")
	t.refuse(syscall.EPERM)
	t.here("ping")
	t.load(r1, ctx, skFamily)
	t.isnt(r1, familyFour, "ping6")
	t.load(r1, entry, entryV4)
	t.jump("mark")
	t.here("ping6")
	t.load(r1, entry, entryLback4)
	t.here("mark")
	t.store(ctx, skMark, r1)
	t.jump("count")
	t.here("stream")
	t.isnt(r2, syscall.IPPROTO_TCP, bad)

	t.here("count")
	t.flag(Limited, "limited")
	t.account(nil, SocketsEver)
	t.jump("pass")
	t.here("limited")
	t.lookup(t.Counts, stackID)
	t.null(r0, "shut")
	t.mov(addr, r0)
	t.load(r1, entry, entrySockets)
	t.is(r1, 0, "free")
	t.few(addr, countSockets, r1, "free")
	t.refuse(syscall.ENOBUFS)
	t.here("free")
	t.mov(r2, ctx)
	t.note(1)
	t.null(r0, t.refusal(syscall.ENOBUFS))
	t.load8(r1, fp, stackID)
	t.store8(r0, 0, r1)
	t.put(r0, 8, noteCounted)
	t.set(r1, 1)
	t.add(ebpf.AtomicAdd(addr, countSockets, r1, ebpf.Word))
	t.account(nil, SocketsEver)
	return t.end(1)
}

// Release is the end of a socket, whoever closes it: what its note counts is
// discounted, and a port that nobody uses is forgotten. Another socket of UDP may have
// shared what Steer entered it under.
func Release(p Parts) []ebpf.Instruction {
	t := write(p)
	t.mov(ctx, r1)
	t.mov(r2, ctx)
	t.note(0)
	t.null(r0, "pass")
	t.mov(entry, r0) // the note
	t.load(flags, entry, 8)
	t.load8(r1, entry, 0)
	t.store8(fp, stackID, r1)
	t.add(ebpf.JumpIf(flags, ebpf.Any, noteCounted, "counted"))
	t.jump("port")
	t.here("counted")
	t.lookup(t.Counts, stackID)
	t.null(r0, "port")
	t.set(r1, -1)
	t.add(ebpf.AtomicAdd(r0, countSockets, r1, ebpf.Word))
	t.here("port")
	t.load(r1, entry, noteTimes)
	t.is(r1, 0, "unlisted")
	t.store8(fp, stackSaved, r1)
	t.giveSaved(countListeners)
	t.put(entry, noteTimes, 0)
	t.here("unlisted")
	t.add(ebpf.JumpIf(flags, ebpf.Any, noteKnown, "known"))
	t.add(ebpf.JumpIf(flags, ebpf.Any, noteBound, "bound"))
	t.jump("pass")
	t.here("known")
	t.forget(entry)
	t.add(ebpf.JumpIf(flags, ebpf.Any, noteBound, "bound"))
	t.add(ebpf.JumpIf(flags, ebpf.Any, noteWild|noteOpen, "left"))
	t.jump("pass")
	t.here("bound")
	t.load8(r1, fp, stackID)
	t.load(r2, entry, noteAsked)
	t.mov(r3, flags)
	t.portKey(r1, r2, r3)
	t.lookup(t.Ports, stackKey)
	t.null(r0, "pass")
	t.add(ebpf.Load(r1, r0, 0, ebpf.Half))
	t.store8(fp, stackBind, r1)
	t.set(r1, -1)
	t.countWhere(r1)
	t.last(portSockets, ebpf.Word, "discounted")
	t.load8(r1, fp, stackBind)
	t.is(r1, 0, "promised") // at no hidden port
	t.unhide()
	t.here("promised")
	t.add(ebpf.Map(r1, t.Ports)...)
	t.stack(r2, stackKey)
	t.call(ebpf.MapDelete)
	t.give(countPorts)
	t.here("discounted")
	t.masked(r1, flags, noteDatagram)
	t.is(r1, 0, "pass")
	t.here("left")
	t.put(entry, noteFlags, 0)
	t.event()
	return t.end(1)
}

// refused are options that no guest may set: those that name a device of the host's (but see inward),
// that lift the rule whose address is whose, that take what all guests share (flow
// labels of IPv6), protocols on top of TCP that the kernel had holes in, what has
// datagrams go to the host's IPsec, and what has packets go to other addresses than those
// that hooks see (routing headers, with segments; see Egress).
func refused() map[int32][]int32 {
	return map[int32][]int32{
		solSocket: {syscall.SO_BINDTODEVICE, soBindToIfindex, syscall.SO_MARK},
		solIP:     {ipTransparent, ipUnicastIf},
		solIPv6:   {ipv6Transparent, ipv6UnicastIf, ipv6FlowlabelMgr, ipv6JoinAnycast, ipv6RoutingHeader},
		solTCP:    {tcpULP},
		solUDP:    {udpEncap},
	}
}

// groups are options that want Multicast.
func groups() map[int32][]int32 {
	return map[int32][]int32{
		solIP:   {ipMulticastIf, ipAddMembership, ipAddSource, mcastJoinGroup, mcastJoinSource},
		solIPv6: {ipv6MulticastIf, ipv6AddMembership, mcastJoinGroup, mcastJoinSource},
	}
}

// Setsockopt is setsockopt(2): EPERM for what refused lists, and for groups without
// Multicast. But for late and inward the option's value is not looked at, so the kernel need not copy it back.
func Setsockopt(p Parts) []ebpf.Instruction {
	const level, name, length = 24, 28, 32 // in struct bpf_sockopt
	t := write(p)
	t.guest("shut")
	t.names(level, name)
	t.late(level, name, length)
	t.inward(level, name, length)
	t.load(r1, ctx, level)
	t.load(r2, ctx, name)
	for _, l := range []int32{solSocket, solIP, solIPv6, solTCP, solUDP} {
		next, group := t.label("level"), t.label("group")
		t.isnt(r1, l, next)
		for _, n := range refused()[l] {
			t.is(r2, n, "shut")
		}
		for _, n := range groups()[l] {
			t.is(r2, n, group)
		}
		t.jump("whole")
		t.here(group)
		t.flag(Multicast, "whole")
		t.jump("shut")
		t.here(next)
	}
	t.here("whole")
	t.put(ctx, length, 0)
	return t.end(1)
}

// names notes that the program names the source of what it sends itself, as who asks to
// be told where datagrams went does. The offsets are those of the option.
func (t *text) names(level, name int16) {
	noted, six, done := t.label("names"), t.label("six"), t.label("named")
	t.load(r1, ctx, level)
	t.load(r2, ctx, name)
	t.isnt(r1, solIP, six)
	t.is(r2, syscall.IP_PKTINFO, noted)
	t.jump(done)
	t.here(six)
	t.isnt(r1, solIPv6, done)
	t.is(r2, syscall.IPV6_RECVPKTINFO, noted)
	t.isnt(r2, syscall.IPV6_2292PKTINFO, done)
	t.here(noted)
	t.load8(r2, ctx, 0) // sk
	t.null(r2, done)
	t.note(1)
	t.null(r0, done)
	t.load(r1, r0, noteFlags)
	t.add(ebpf.Or(r1, noteNames))
	t.store(r0, noteFlags, r1)
	t.put8(r0, noteStamp, 0)
	t.here(done)
}

// SockOps is what happens to TCP: a socket that listens gets into the map of listeners,
// under what the program asked for; connections of a guest with a limit are counted, from
// their establishment to the end of it.
func SockOps(p Parts) []ebpf.Instruction {
	const op, newState = 0, 8 // in struct bpf_sock_ops
	t := write(p)
	t.load(r2, r1, op)
	t.is(r2, sockOpsActive, "established")
	t.is(r2, sockOpsPassive, "established")
	t.is(r2, sockOpsState, "state")
	t.isnt(r2, sockOpsListen, "pass")
	t.mov(ctx, r1)
	if t.Ancestors == 0 {
		t.set(r1, t.Level)
		t.call(ebpf.CurrentAncestorCgroupID)
	} else {
		t.chase(t.Cgroups, t.Group, t.Ancestors+8*t.Level, t.Node, t.NodeID)
	}
	t.entry("pass")
	t.listener()

	t.here("established")
	t.mov(ctx, r1)
	t.connection()
	t.load(flags, r0, 8)
	t.account(nil, ConnectionsEver)
	t.add(ebpf.JumpIf(flags, ebpf.Any, int32(Counted), "counted"))
	t.jump("pass")
	t.here("counted")
	t.set(addr, 1)
	t.count()
	t.mov(r1, ctx)
	t.set(r2, sockOpsStateFlag)
	t.call(ebpf.SockOpsFlags)
	t.jump("pass")

	t.here("state")
	t.load(r2, r1, newState)
	t.isnt(r2, tcpClosed, "pass")
	t.mov(ctx, r1)
	t.connection()
	t.set(addr, -1)
	t.count()
	return t.end(1)
}

// Offsets in struct bpf_sock_ops.
const (
	opsFamily = 20
	opsLocal4 = 28
	opsLocal6 = 48
	opsPort   = 68 // the machine's order
	opsSock   = 184
)

// count adds addr to the guest's connections.
func (t *text) count() {
	none := t.label("uncounted")
	t.lookup(t.Counts, stackID)
	t.null(r0, none)
	t.add(ebpf.AtomicAdd(r0, countConnections, addr, ebpf.Word))
	t.here(none)
}

// localKey writes the socket's own address to the stack, as a key.
func (t *text) localKey(at int16) {
	six, done := t.label("six"), t.label("local")
	t.load(r1, ctx, opsFamily)
	t.isnt(r1, familyFour, six)
	t.load(r1, ctx, opsLocal4)
	t.mappedKey(at, r1)
	t.jump(done)
	t.here(six)
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, ctx, opsLocal6+i)
		t.store(fp, at+i, r1)
	}
	t.here(done)
}

// connection finds the guest by the connection's own address.
func (t *text) connection() {
	t.localKey(stackKey)
	t.loopbackKey(stackKey)
	t.lookup(t.Owners, stackKey)
	t.null(r0, "pass")
	t.load8(r1, r0, 0)
	t.store8(fp, stackID, r1)
}

// loopbackKey makes 127.X.Y.N on the stack 127.X.Y.0, as owners has it.
func (t *text) loopbackKey(at int16) {
	done := t.label("net")
	t.load(r1, fp, at+8)
	t.isnt(r1, net(0xffff), done)
	t.load(r1, fp, at+12)
	t.masked(r2, r1, net(0xff000000))
	t.isnt(r2, net(0x7f000000), done)
	t.add(ebpf.And32(r1, net(0xffffff00)))
	t.store(fp, at+12, r1)
	t.here(done)
}
