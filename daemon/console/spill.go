package console

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"vserver/guest"
)

// Spill is memory that outlives the worker: a file without a name that the keeper
// holds. What is read from a console is read into it, with a label that says where in
// which log it belongs. So a worker that is killed between the read and the write
// takes nothing with it: the next one writes it.
//
//	0  state    0 empty, 1 labelled
//	4  length   of the data; -1 while the kernel may be filling it
//	8  place    in the log
//	16 name     of the guest, 64 bytes, ended by 0
//	4096 data, all 0 beyond what was read
type Spill struct {
	f   *os.File
	mem []byte
}

const (
	spillSize  = 32 << 10 // data; a pty gives 4 KiB at once, a pipe up to 64
	spillHead  = 4096
	spillName  = 16
	spillEmpty = 0
	spillFull  = 1
)

// NewSpill makes an empty one in dir.
func NewSpill(dir string) (*Spill, error) {
	f, err := os.CreateTemp(dir, ".spill-*")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if err := f.Truncate(spillHead + spillSize); err != nil {
		return nil, err
	}
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	syscall.CloseOnExec(fd)
	return OpenSpill(fd)
}

// OpenSpill takes the file of a worker before.
func OpenSpill(fd int) (*Spill, error) {
	f := os.NewFile(uintptr(fd), "spill")
	mem, err := syscall.Mmap(fd, 0, spillHead+spillSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		f.Close()
		return nil, os.NewSyscallError("mmap", err)
	}
	return &Spill{f, mem}, nil
}

// FD is the file, for the keeper.
func (s *Spill) FD() int { return int(s.f.Fd()) }

// Close unmaps it; the keeper still has it.
func (s *Spill) Close() {
	syscall.Munmap(s.mem)
	s.f.Close()
}

// begin labels what is read next, and gives the memory to read it to.
func (s *Spill) begin(name guest.Name, at int64) []byte {
	n := copy(s.mem[spillName:spillHead], name)
	s.mem[spillName+n] = 0
	binary.NativeEndian.PutUint64(s.mem[8:], uint64(at))
	s.length(-1)
	s.state(spillFull)
	return s.mem[spillHead:]
}

// read says that n bytes were read, and gives them.
func (s *Spill) read(n int) []byte {
	s.length(int32(n))
	return s.mem[spillHead:][:n]
}

// done empties the memory, of which n bytes were used.
func (s *Spill) done(n int) {
	s.state(spillEmpty)
	clear(s.mem[spillHead:][:n])
}

// left gives what a killed worker left, if anything. When not even the length was
// noted, it is what is there up to the last byte that is not 0.
func (s *Spill) left() (name guest.Name, at int64, data []byte) {
	defer func() {
		data = bytes.Clone(data)
		s.done(spillSize)
	}()
	if binary.NativeEndian.Uint32(s.mem) != spillFull {
		return "", 0, nil
	}
	word, _, _ := bytes.Cut(s.mem[spillName:spillName+64], []byte{0})
	name, err := guest.ParseName(string(word))
	if err != nil {
		return "", 0, nil
	}
	n := int(int32(binary.NativeEndian.Uint32(s.mem[4:])))
	data = s.mem[spillHead:]
	if n >= 0 && n <= len(data) {
		data = data[:n]
	} else {
		data = bytes.TrimRight(data, "\x00")
	}
	return name, int64(binary.NativeEndian.Uint64(s.mem[8:])), data
}

func (s *Spill) state(v uint32) { binary.NativeEndian.PutUint32(s.mem, v) }
func (s *Spill) length(n int32) { binary.NativeEndian.PutUint32(s.mem[4:], uint32(n)) }

// Recover writes what a killed worker left to the log where it belongs.
func (s *Spill) Recover(dirs guest.Dirs) error {
	name, at, data := s.left()
	if len(data) == 0 {
		return nil
	}
	l := newLog(dirs, name, 0)
	defer l.close()
	err := l.open()
	if err == nil {
		err = l.put(data, at)
	}
	if err != nil && !errors.Is(err, guest.ErrNotFound) {
		return fmt.Errorf("%s: console log: %w", name, err)
	}
	return nil
}
