package bpf

import (
	"strconv"
	"syscall"

	"vserver/kernel/btf"
	"vserver/kernel/ebpf"
)

// Sockets says where this kernel keeps what Unix reads: offsets in bytes, all 0 where it
// is not known.
type Sockets struct {
	Sock, Address, Length int32 // in bpf_sock_addr_kern: the socket, its destination, the size of that
	Net, Node             int32 // in sock_common
	Type, Socket, Group   int32 // in sock; Group the control group's
	Inode                 int32 // of a socket's inode its number, from struct socket on
	Buckets               int32 // in net: the table of names
	Name, NameLen, NameIs int32 // addr in unix_sock; len and name in unix_address
	Level                 int32 // in cgroup
}

// findSockets looks for them. All are 0 on a kernel without such hooks (before Linux 6.7).
func findSockets(types *btf.Types) (l Sockets) {
	var cgroup, inode, table, buckets int32
	err := find(types, []field{
		{&l.Sock, "bpf_sock_addr_kern", "sk"},
		{&l.Address, "bpf_sock_addr_kern", "uaddr"},
		{&l.Length, "bpf_sock_addr_kern", "uaddrlen"},
		{&l.Net, "sock_common", "skc_net"},
		{&l.Node, "sock_common", "skc_node"},
		{&l.Type, "sock", "sk_type"},
		{&l.Socket, "sock", "sk_socket"},
		{&l.Group, "sock", "sk_cgrp_data"},
		{&cgroup, "sock_cgroup_data", "cgroup"},
		{&l.Inode, "socket_alloc", "vfs_inode"},
		{&inode, "inode", "i_ino"},
		{&l.Buckets, "net", "unx"},
		{&table, "netns_unix", "table"},
		{&buckets, "unix_table", "buckets"},
		{&l.Name, "unix_sock", "addr"},
		{&l.NameLen, "unix_address", "len"},
		{&l.NameIs, "unix_address", "name"},
		{&l.Level, "cgroup", "level"},
	})
	if err != nil || strconv.IntSize != 64 {
		return Sockets{}
	}
	l.Group += cgroup
	l.Inode += inode
	l.Buckets += table + buckets
	return l
}

// The stack of Unix: what is asked for, what is there, and words.
const (
	unixWord   = -16
	unixInode  = -24
	unixWanted = -24 - unixName
	unixThere  = unixWanted - unixName

	unixName = 112 // the size of struct sockaddr_un, 110, in words
	// unixChain is how many sockets a bucket may have: 256 of them are 32,000 names. The kernel
	// looks at each turn of the loop when it takes the programs, for a millisecond.
	unixChain = 128
)

// Unix is connect(2) and sendto(2) to a name of a unix socket. Those in the file system
// are its business. An abstract one is of the network namespace, which guests of mode
// shared share with the host, and no permission guards it. So a guest gets through to
// its own alone:
//
//	bucket = hash of the name, as net/unix/af_unix.c makes it
//	for each socket there with that name:
//		pass if the control group it was made in is the guest's, or below it
//	refuse, as if nobody had the name: ECONNREFUSED
//
// There is no lock that a program could take on the table; so the socket must be the same
// before and after its name was looked at, and be in the table then: the number of its
// inode, which is of no other socket in a long time, tells that. Inodes are freed only
// when no program runs that could look at them.
func Unix(p Parts) []ebpf.Instruction {
	t := write(p)
	if t.Unix == (Sockets{}) || t.Ancestors == 0 {
		return t.end(1)
	}
	t.mov(ctx, r1)
	t.follow(addr, ctx, t.Unix.Address)
	t.peek(addr, 0, 4)
	t.load(r1, fp, unixWord)
	t.add(ebpf.And32(r1, net(0x0000ff00)))
	t.isnt(r1, 0, "pass") // a path
	t.set(r1, t.Level)
	t.call(ebpf.CurrentAncestorCgroupID)
	refuse := t.refusal(syscall.ECONNREFUSED)
	t.entry(refuse)
	t.unixHash(refuse)
	t.unixFind(refuse)
	return t.end(1)
}

// peek reads some bytes of the kernel's to the stack, at unixWord.
func (t *text) peek(from ebpf.Register, offset, size int32) {
	t.mov(r3, from)
	t.stack(r1, unixWord)
	t.set(r2, size)
	t.add(ebpf.AddImm(r3, offset))
	t.call(ebpf.ProbeReadKernel)
}

// follow is dst = the pointer at an offset.
func (t *text) follow(dst, from ebpf.Register, offset int32) {
	t.peek(from, offset, 8)
	t.load8(dst, fp, unixWord)
}

// copyName copies a name of r8 bytes to the stack.
func (t *text) copyName(to int32, from ebpf.Register, offset int32) {
	t.mov(r3, from)
	t.stack(r1, to)
	t.mov(r2, flags)
	t.add(ebpf.AddImm(r3, offset))
	t.call(ebpf.ProbeReadKernel)
}

// unixHash takes the destination's address in r9, and is r9 = the first socket of its
// bucket, r8 = its length. What is asked for stands on the stack then.
func (t *text) unixHash(refuse string) {
	t.peek(ctx, t.Unix.Length, 4)
	t.load(flags, fp, unixWord)
	t.add(ebpf.JumpIf(flags, ebpf.Above, 110, refuse), ebpf.JumpIf(flags, ebpf.Below, 3, refuse))
	for at := int16(0); at < unixName; at += 8 {
		t.put8(fp, unixWanted+at, 0)
		t.put8(fp, unixThere+at, 0)
	}
	t.copyName(unixWanted, addr, 0)
	t.follow(entry, ctx, t.Unix.Sock)
	t.follow(addr, entry, t.Unix.Net)
	t.follow(addr, addr, t.Unix.Buckets)
	t.peek(entry, t.Unix.Type, 2)
	t.set(r1, 0)
	for at := int16(0); at < unixName; at += 2 {
		t.add(ebpf.Load(r2, fp, unixWanted+at, ebpf.Half), ebpf.Add(r1, r2))
	}
	for range 2 { // the carry, and what it carries
		t.masked(r2, r1, 0xffff)
		t.add(ebpf.ShiftRight(r1, 16), ebpf.Add(r1, r2))
	}
	t.set(r2, 0xffff)
	t.add(ebpf.XorReg(r1, r2))
	t.mov(r2, r1)
	t.add(ebpf.ShiftRight(r2, 8), ebpf.XorReg(r1, r2))
	t.add(ebpf.Load(r2, fp, unixWord, ebpf.Half), ebpf.XorReg(r1, r2))
	const names = 256 // the first half of the table is of sockets without one
	t.add(ebpf.And32(r1, names-1), ebpf.AddImm(r1, names), ebpf.MulImm(r1, 8), ebpf.Add(addr, r1))
	t.follow(addr, addr, 0)
}

// unixFind goes through the sockets of the bucket.
func (t *text) unixFind(refuse string) {
	t.set(entry, 0)
	t.here("socket")
	t.null(addr, refuse)
	t.mov(ctx, addr)
	t.add(ebpf.AddImm(ctx, -t.Unix.Node))
	t.inode(refuse)
	t.store8(fp, unixInode, r0)
	t.follow(addr, ctx, t.Unix.Name)
	t.peek(addr, t.Unix.NameLen, 4)
	t.load(r1, fp, unixWord)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, flags, "next"))
	t.copyName(unixThere, addr, t.Unix.NameIs)
	t.set(r1, 0)
	for at := int16(0); at < unixName; at += 8 {
		t.load8(r2, fp, unixWanted+at)
		t.load8(r3, fp, unixThere+at)
		t.add(ebpf.XorReg(r2, r3), ebpf.OrReg(r1, r2))
	}
	t.set(r2, 0)
	t.add(ebpf.JumpIfReg(r1, ebpf.Equal, r2, "found"))
	t.here("next")
	t.follow(addr, ctx, t.Unix.Node)
	t.add(ebpf.AddImm(entry, 1), ebpf.Again(entry, ebpf.Below, unixChain, "socket"))
	t.jump(refuse)

	t.here("found")
	t.follow(addr, ctx, t.Unix.Group)
	t.peek(addr, t.Unix.Level, 4)
	t.load(r1, fp, unixWord)
	t.add(ebpf.JumpIf(r1, ebpf.Below, t.Level, refuse))
	t.follow(addr, addr, t.Ancestors+8*t.Level)
	t.follow(addr, addr, t.Node)
	t.follow(r1, addr, t.NodeID)
	t.load8(r2, fp, stackID)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, refuse))
	t.follow(r1, ctx, t.Unix.Node+8) // where it is in the bucket
	t.null(r1, refuse)
	t.inode(refuse)
	t.load8(r1, fp, unixInode)
	t.add(ebpf.JumpIfReg(r0, ebpf.Differs, r1, refuse))
	t.jump("pass")
}

// inode is r0 = the number of the inode of the socket in ctx.
func (t *text) inode(none string) {
	t.follow(addr, ctx, t.Unix.Socket)
	t.follow(r0, addr, t.Unix.Inode)
	t.null(r0, none)
}
