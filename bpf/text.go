package bpf

import (
	"encoding/binary"
	"strconv"
	"syscall"

	"vserver/kernel/ebpf"
)

// Parts is what the programs of network contexts are made with.
type Parts struct {
	// The maps, by descriptors; see Maps. Manifest comes first: every program holds it,
	// so that any of them leads to all else.
	Manifest, Guests, Owners, Accounts, Counts, Ports, Listeners, Notes, Events, Bound, Change, Direct, Places int
	// Level is how deep below the hierarchy's root the guests' cgroups are.
	Level int32
	Tasks
}

// Tasks says where this kernel keeps what programs read of a task: offsets in bytes.
// Without them (all 0) the guest's root is known by its number alone, and a kernel older
// than Linux 6.12 refuses the program SockOps.
type Tasks struct {
	Cred, Effective         int32 // cred in task_struct, cap_effective in cred
	Cgroups, Group          int32 // cgroups in task_struct, dfl_cgrp in css_set
	Ancestors, Node, NodeID int32 // ancestors and kn in cgroup, id in kernfs_node
	State                   int32 // skc_state in sock_common, a byte before skc_ipv6only
	Unix                    Sockets
}

// What the maps hold. The id of a guest's cgroup is what names the guest everywhere.
//
//	guests     id -> Entry
//	owners     address, IPv4 mapped into IPv6, 127.X.Y.0 for all of that /24
//	           -> u64 id, u32 flags (OfHost, Counted, Single), u32 0
//	accounts   id -> Account, one for each processor
//	places     PlaceOf(id) -> Account, one for each processor, u64 id: instead of that in
//	           accounts for the guests that have a place, since an array takes no search
//	change     u64 that is another after each change of guests; see remember
//	counts     id -> u32 sockets, u32 refused; u32 connections, u32 refused: how many there are;
//	           u32 ports, u32 listeners, u32 bound: what the guest has in these; see take
//	ports      u64 id, u16 port (network order), u16 0, u32 noteDatagram for UDP, 0 for TCP
//	           -> u16 hidden port (network order), u16 0, u32 sockets bound to it, of
//	           these u32 to the wildcard of IPv4 or both, u32 to IPv4 addresses but the
//	           first, u32 to the wildcard of IPv6 or both, u32 to IPv6 addresses; and for each
//	           hidden port the like with noteParked, of which u32 ports asked for is read
//	listeners  u64 id, 16 bytes address or zeros, u16 port (network order), u16 slot,
//	           u32 protocol -> listening socket of TCP, socket of UDP that is parked, or bound
//	           to one address in place of the wildcard, or to that at a port that others have
//	events     something happened that Steer is for
//	bound      as listeners, with slot 0 -> u64 sockets of UDP that are bound there; those
//	           at a wildcard have zeros for the address
//	direct     a place for each of some addresses and ports -> u64 which one it is, when a
//	           socket of UDP is bound there; see directly
//	notes      socket -> u64 id, u32 flags (note*), u32 port asked for (network order),
//	           16 bytes address and u32 port under which bound counts it; of one of UDP that
//	           is parked the address that it is at; what Sendmsg4 remembers: u32
//	           destination, u32 source asked for, u32 source chosen, u64 change; u64 what it
//	           has put into direct; u32 how often listeners has it
const (
	idSize       = 8
	ownerKey     = 16
	ownerSize    = 16
	AccountSize  = 8 * accountWords // AccountSize is the size of an Account
	accountWords = 11
	PlaceSize    = AccountSize + 8 // PlaceSize is the size of what the map places holds for one processor
	Places       = 1024            // Places is how many guests can have one
	CountSize    = 28              // CountSize is the size of what the map counts holds
	portSize     = 16
	portValue    = 24
	listenerSize = 32
	boundSize    = 8
	socketNote   = 72
	directPlaces = 1 << directBits
)

// Offsets in an Account, of 8 bytes each.
const (
	BytesIn = 8 * iota
	PacketsIn
	BytesOut
	PacketsOut
	Dropped
	SocketsEver
	ConnectionsEver
	rememberedAddress // u32: the guest's first address of IPv4; u32: its loopback
	rememberedAt      // what change was then
	remembered6       // 16 bytes: the guest's first address of IPv6
)

const rememberedLback = rememberedAddress + 4

// Flags of a socket's note.
const (
	noteParked   = 1 << iota // bound to a hidden port in place of the one asked for
	noteWild                 // bound to one address in place of the wildcard
	noteBound                // its hidden port counts it
	noteCounted              // counts.sockets counts it
	noteSix                  // the wildcard was that of IPv6, or of both
	noteOther                // parked at an IPv4 address that is not the guest's first
	noteFirst                // parked at the first one in place of the wildcard of IPv4 or of both
	noteKnown                // bound counts it
	noteDatagram             // parked, of UDP: ports counts it under that protocol
	noteLooped               // what it sends to loopback goes to the first address
	noteNames                // the program names the source of what it sends itself (IP_PKTINFO)
	noteEntered              // it is what Steer has put into listeners
	noteAt6                  // parked at an IPv6 address that was asked for
	noteSteer                // the kernel has found its port, and Steer is for it all the same
	noteLate                 // the kernel finds its port when it connects or listens; see late
	noteSpoken               // not parked, where others were that answers may still be led to
	noteOpen                 // of UDP, at the wildcard and a port that others may be at, too
)

// Offsets in a socket's note.
const (
	noteID      = 0
	noteFlags   = 8
	noteAsked   = 12
	noteAddress = 16
	notePort    = 32

	noteDestination = 36 // of IPv4, of the last datagram
	noteSource      = 40 // that was asked for then
	noteChosen      = 44 // and what it became
	noteStamp       = 48 // what change was then, 0 for none
	noteDirect      = 56 // 0 for nothing
	noteTimes       = 64
)

// Offsets in a value of ports.
const (
	portSockets = 4
	portFirst   = 8  // those with noteFirst
	portOther   = 12 // those with noteOther
	portWild6   = 16 // those with noteSix; in the upper half those of them for both families
	portAt6     = 20 // those with noteAt6
)

// ManifestSize is the size of the value of the map manifest: the tool's notes of what belongs together.
const ManifestSize = 256

// Steering is the offset in the manifest of a u32 that is not 0 when there are sockets
// of UDP in the map of listeners: the one thing there that a program reads.
const Steering = ManifestSize - 4

// Parking is the offset in the manifest of a u32 that is not 0 when there was a socket
// of UDP that is parked: what such send needs its port written into it.
const Parking = ManifestSize - 8

// Connecting is the offset in the manifest of a u32 that is not 0 when a parked socket
// was connected: what comes for such needs the hidden port written into it.
const Connecting = ManifestSize - 12

// Looping is the offset in the manifest of a u32 that is not 0 when a guest's first
// address has stood for its loopback to a socket: only then is that to be looked for.
const Looping = ManifestSize - 16

// What the marks of parked sockets are under a mask: Parked those of sockets of UDP that
// are not connected, Connected those of others. In the lower half is the port that was
// asked for, in network order.
const (
	ParkedMask uint32 = 0xffff0000
	Parked     uint32 = parkMark << 16
	Connected  uint32 = connectMark << 16
)

// Maps are the maps for Parts, in its order.
func Maps() []ebpf.MapSpec {
	const guests, sockets = 65536, tableSize
	return []ebpf.MapSpec{
		{Name: "vs_manifest", Kind: ebpf.Array, Key: 4, Value: ManifestSize, Entries: 1},
		{Name: "vs_guests", Kind: ebpf.Hash, Key: idSize, Value: EntrySize, Entries: guests},
		{Name: "vs_owners", Kind: ebpf.Hash, Key: ownerKey, Value: ownerSize, Entries: 4 * guests},
		{Name: "vs_accounts", Kind: ebpf.PerCPUHash, Key: idSize, Value: AccountSize, Entries: guests},
		{Name: "vs_counts", Kind: ebpf.Hash, Key: idSize, Value: CountSize, Entries: guests},
		{Name: "vs_ports", Kind: ebpf.Hash, Key: portSize, Value: portValue, Entries: sockets},
		{Name: "vs_listeners", Kind: ebpf.SockHash, Key: listenerSize, Value: 8, Entries: sockets},
		{Name: "vs_notes", Kind: ebpf.SkStorage, Key: 4, Value: socketNote},
		{Name: "vs_events", Kind: ebpf.RingBuffer, Entries: 1 << 16},
		{Name: "vs_bound", Kind: ebpf.Hash, Key: listenerSize, Value: boundSize, Entries: 2 * sockets},
		{Name: "vs_change", Kind: ebpf.Array, Key: 4, Value: 8, Entries: 1},
		{Name: "vs_direct", Kind: ebpf.Array, Key: 4, Value: 8, Entries: directPlaces},
		{Name: "vs_places", Kind: ebpf.PerCPUArray, Key: 4, Value: PlaceSize, Entries: Places},
	}
}

// Registers by short names.
const (
	r0, r1, r2, r3, r4, r5 = ebpf.R0, ebpf.R1, ebpf.R2, ebpf.R3, ebpf.R4, ebpf.R5
	ctx                    = ebpf.R6 // what the program is called with
	entry                  = ebpf.R7 // the guest's Entry
	flags                  = ebpf.R8 // its flags
	addr                   = ebpf.R9 // the IPv4 address in question
	fp                     = ebpf.FP
)

// The stack.
const (
	stackID    = -8   // u64: the guest
	stackKey   = -40  // 32 bytes: a key of a map
	stackAddr  = -56  // 16 bytes: the IPv6 address in question
	stackNote  = -72  // u32: flags of a note in the making; u32 port; u64
	stackBind  = -104 // 28 bytes: struct sockaddr_in or sockaddr_in6
	stackTuple = -144 // 36 bytes: struct bpf_sock_tuple
	stackSaved = -152 // u64
	stackThen  = -160 // u64: what change was before anything was looked up
	stackPlace = -168 // u32: a key of places
	stackAll   = -176 // u64: 0, the id in counts of all guests together
)

// text is a program in the making.
type text struct {
	Parts
	code   []ebpf.Instruction
	labels int
	errors map[syscall.Errno]bool // for which there shall be an end
}

func write(p Parts) *text {
	return &text{Parts: p, code: ebpf.Map(r0, p.Manifest), errors: map[syscall.Errno]bool{}}
}

func (t *text) add(i ...ebpf.Instruction) { t.code = append(t.code, i...) }

// label gives a name that no other label has.
func (t *text) label(word string) string {
	t.labels++
	return word + strconv.Itoa(t.labels)
}

func (t *text) here(label string) { t.add(ebpf.Here(label)) }

func (t *text) jump(label string) { t.add(ebpf.Goto(label)) }

// is and isnt go to a label when the lower half of a register has, or has not, a value.
func (t *text) is(r ebpf.Register, value int32, label string) {
	t.add(ebpf.JumpIf(r, ebpf.Equal, value, label))
}

func (t *text) isnt(r ebpf.Register, value int32, label string) {
	t.add(ebpf.JumpIf(r, ebpf.Differs, value, label))
}

// flag goes to a label when the guest has one of these flags.
func (t *text) flag(bits uint32, label string) {
	t.add(ebpf.JumpIf(flags, ebpf.Any, int32(bits), label))
}

func (t *text) load(dst, src ebpf.Register, off int16) { t.add(ebpf.Load(dst, src, off, ebpf.Word)) }

func (t *text) load8(dst, src ebpf.Register, off int16) { t.add(ebpf.Load(dst, src, off, ebpf.DWord)) }

func (t *text) store(dst ebpf.Register, off int16, src ebpf.Register) {
	t.add(ebpf.Store(dst, off, src, ebpf.Word))
}

func (t *text) store8(dst ebpf.Register, off int16, src ebpf.Register) {
	t.add(ebpf.Store(dst, off, src, ebpf.DWord))
}

// put stores a number of 32 bits. In the context it takes r5, since before Linux 6.3
// nothing but a register is stored there.
func (t *text) put(dst ebpf.Register, off int16, value int32) {
	if dst == ctx {
		t.add(ebpf.MovImm32(r5, value))
		t.store(ctx, off, r5)
		return
	}
	t.add(ebpf.StoreImm(dst, off, value, ebpf.Word))
}

func (t *text) put8(dst ebpf.Register, off int16, value int32) {
	t.add(ebpf.StoreImm(dst, off, value, ebpf.DWord))
}

func (t *text) mov(dst, src ebpf.Register) { t.add(ebpf.Mov(dst, src)) }

func (t *text) set(dst ebpf.Register, value int32) { t.add(ebpf.MovImm(dst, value)) }

// stack is dst = the address of a place on the stack.
func (t *text) stack(dst ebpf.Register, off int32) {
	t.add(ebpf.Mov(dst, fp), ebpf.AddImm(dst, off))
}

func (t *text) call(h ebpf.Helper) { t.add(ebpf.Call(h)) }

// masked is dst = src & mask, of 32 bits.
func (t *text) masked(dst, src ebpf.Register, mask int32) {
	t.add(ebpf.Mov(dst, src), ebpf.And32(dst, mask))
}

// lookup is r0 = the value of the key on the stack, or 0.
func (t *text) lookup(m int, key int32) {
	t.add(ebpf.Map(r1, m)...)
	t.stack(r2, key)
	t.call(ebpf.MapLookup)
}

// manifest is dst = the word at this offset of the manifest.
func (t *text) manifest(dst ebpf.Register, at int16) {
	t.add(ebpf.Value(dst, t.Manifest)...)
	t.load(dst, dst, at)
}

// null goes to a label when a pointer is none.
func (t *text) null(r ebpf.Register, label string) { t.add(ebpf.JumpIfZero(r, label)) }

// refuse ends the program: the system call fails so.
func (t *text) refuse(errno syscall.Errno) { t.jump(t.refusal(errno)) }

// refusal is the label of an end for this error.
func (t *text) refusal(errno syscall.Errno) string {
	t.errors[errno] = true
	return "refuse" + strconv.Itoa(int(errno))
}

// end writes the ends: "pass" returns verdict, "shut" 0, which is EPERM, and those of
// refuse.
func (t *text) end(verdict int32) []ebpf.Instruction {
	t.here("pass")
	t.set(r0, verdict)
	t.add(ebpf.Exit())
	for errno := range syscall.Errno(200) { // in order
		if t.errors[errno] {
			t.here("refuse" + strconv.Itoa(int(errno)))
			t.set(r1, -int32(errno))
			t.call(ebpf.SetRetval)
			t.jump("shut")
		}
	}
	t.here("shut")
	t.set(r0, 0)
	t.add(ebpf.Exit())
	return ebpf.Reached(t.code)
}

// guest begins a program that a process calls: whose guest's it is. An unknown one
// goes to shut, an open one to pass.
func (t *text) guest(shut string) {
	t.mov(ctx, r1)
	t.set(r1, t.Level)
	t.call(ebpf.CurrentAncestorCgroupID)
	t.entry(shut)
}

// entry looks the guest up whose id is in r0.
func (t *text) entry(shut string) {
	t.store8(fp, stackID, r0)
	t.lookup(t.Guests, stackID)
	t.null(r0, shut)
	t.mov(entry, r0)
	t.load(flags, entry, entryFlags)
	t.flag(Open, "pass")
}

// chase follows pointers of the kernel's from the task: r0 is what is at the last
// offset.
func (t *text) chase(offsets ...int32) {
	t.call(ebpf.CurrentTask)
	for _, offset := range offsets {
		t.stack(r1, stackSaved)
		t.set(r2, 8)
		t.mov(r3, r0)
		t.add(ebpf.AddImm(r3, offset))
		t.call(ebpf.ProbeReadKernel)
		t.load8(r0, fp, stackSaved)
	}
}

// net is a number in network order, as the machine has it.
func net(n uint32) int32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return int32(binary.NativeEndian.Uint32(b[:]))
}

// LastOfTool is the place in Maps of the last map that the tool uses itself, but for
// ChangeMap and PlacesMap.
const LastOfTool = 4

// ChangeMap is the place in Maps of the map change.
const ChangeMap = 10

// PlacesMap is the place in Maps of the map places.
const PlacesMap = 12

// EventsMap is the place in Maps of the map events.
const EventsMap = 8

// Descriptors are the places for the descriptors of Maps, in its order.
func (p *Parts) Descriptors() []*int {
	return []*int{&p.Manifest, &p.Guests, &p.Owners, &p.Accounts, &p.Counts, &p.Ports, &p.Listeners, &p.Notes, &p.Events, &p.Bound, &p.Change, &p.Direct, &p.Places}
}
