package views

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"vserver/kernel/fuse"
	"vserver/kernel/memfd"
	"vserver/view"
)

// slot is the shared memory that outlives a server: the request that is being answered,
// and the guests' load averages.
//
//	0     id of the connection whose request it is, 0 for none
//	8     how often an answer was begun
//	64    the request, as the kernel wrote it; its first word is its length, 0 for none
//	16384 records of 64 bytes: id, three averages, time of the last sample
//	278528 what the kernel was told last of files: see toldOf
//
// The kernel itself writes the request: there is no moment in which it was taken from
// the kernel and does not stand here.
type slot struct {
	fd   int
	mem  []byte
	turn uint64 // of what was told last
}

const (
	slotRequest = 64
	slotLoads   = 16 << 10
	loadSize    = 64
	maxLoads    = 4096
	slotTold    = slotLoads + maxLoads*loadSize
	slotSize    = slotTold + maxTold*toldSize
)

// tooOften is how many servers may die over one request. Those that somebody killed
// count too, for nobody here knows which they are.
const tooOften = 10

var enc = binary.NativeEndian

func newSlot() (*slot, error) {
	fd, err := memfd.Shared("vserver views", slotSize)
	if err != nil {
		return nil, err
	}
	s, err := openSlot(fd)
	if err != nil {
		syscall.Close(fd)
	}
	return s, err
}

func openSlot(fd int) (*slot, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil || st.Size != slotSize {
		return nil, fmt.Errorf("views: shared memory of %d bytes: %w", st.Size, syscall.EINVAL)
	}
	mem, err := syscall.Mmap(fd, 0, slotSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("views: map: %w", err)
	}
	s := &slot{fd: fd, mem: mem}
	s.turn = s.lastTurn()
	return s, nil
}

func (s *slot) close() {
	syscall.Munmap(s.mem)
	syscall.Close(s.fd)
}

func (s *slot) buffer() []byte { return s.mem[slotRequest : slotRequest+fuse.Buffer] }

// begin is called before a request of that connection is taken.
func (s *slot) begin(id uint64) {
	enc.PutUint32(s.mem[slotRequest:], 0)
	enc.PutUint64(s.mem[8:], 0)
	enc.PutUint64(s.mem, id)
}

// done is called when it was answered.
func (s *slot) done() { enc.PutUint32(s.mem[slotRequest:], 0) }

// left gives the request that a server before left without an answer. hopeless says that
// too many servers have died over it.
func (s *slot) left() (id uint64, r fuse.Request, hopeless, ok bool) {
	id = enc.Uint64(s.mem)
	if r, ok = fuse.Parse(s.buffer()); !ok || id == 0 {
		return 0, r, false, false
	}
	tries := enc.Uint64(s.mem[8:]) + 1
	enc.PutUint64(s.mem[8:], tries)
	return id, r, tries >= tooOften, true
}

// load gives the record of a connection, 0 when it has none, nil when there is no room.
func (s *slot) record(id uint64) []byte {
	var free []byte
	for i := range maxLoads {
		r := s.mem[slotLoads+i*loadSize:][:loadSize]
		switch enc.Uint64(r) {
		case id:
			return r
		case 0:
			if free == nil {
				free = r
			}
		}
	}
	if free != nil {
		clear(free)
		enc.PutUint64(free, id)
	}
	return free
}

// forget frees the record of a connection.
func (s *slot) forget(record []byte) { clear(record) }

// save keeps a load as it was at a time, in nanoseconds.
func save(record []byte, l view.Load, at int64) {
	if record == nil {
		return
	}
	for i, v := range l {
		enc.PutUint64(record[8+8*i:], v)
	}
	enc.PutUint64(record[32:], uint64(at))
}

// saved gives what save kept; at is 0 for a new record.
func saved(record []byte) (l view.Load, at int64) {
	if record == nil {
		return l, 0
	}
	for i := range l {
		l[i] = enc.Uint64(record[8+8*i:])
	}
	return l, int64(enc.Uint64(record[32:]))
}
