package keeper

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"time"

	"vserver/kernel/pidfd"
	"vserver/kernel/seqpacket"
)

// Store is the worker's side of a keeper process.
type Store struct {
	socket int
	files  map[string]int // what the keeper should hold; the descriptors are others'
	keeper int            // pidfd of the keeper, -1 when it could not be had
	child  *os.Process    // the keeper, when it was started here
	start  func(socket *os.File) (*os.Process, error)
}

// patience is how long a keeper may take for a message. It does nothing but read
// them, so one that takes longer is stopped or worse.
const patience = 2 * time.Second

// OpenStore receives what the keeper at the other end of socket holds. start starts a
// new keeper, should this one die.
func OpenStore(socket int, start func(*os.File) (*os.Process, error)) (*Store, map[string]int, error) {
	files := map[string]int{}
	buf := make([]byte, 2*MaxName)
	for {
		n, fds, err := seqpacket.Recv(socket, buf)
		if err != nil {
			return nil, nil, fmt.Errorf("keeper: %w", err)
		}
		name, ok := strings.CutPrefix(string(buf[:n]), msgPut)
		if !ok {
			break // ready
		}
		if len(fds) == 1 {
			files[name] = fds[0]
		}
	}
	s := &Store{socket: socket, files: maps.Clone(files), keeper: -1, start: start}
	if pid, err := seqpacket.PeerPID(socket); err == nil {
		s.keeper, _ = pidfd.Open(pid)
	}
	return s, files, seqpacket.Patience(socket, patience)
}

// Socket is readable when the keeper wants something or is dead: call Answer.
func (s *Store) Socket() int { return s.socket }

// Answer reads what the keeper says; stop is true when all shall end. When the keeper
// is dead, another takes its place, at another Socket.
func (s *Store) Answer() (stop bool, err error) {
	buf := make([]byte, 64)
	n, _, err := seqpacket.Recv(s.socket, buf)
	if err == nil {
		return string(buf[:n]) == msgStop, nil
	}
	if errors.Is(err, syscall.EAGAIN) {
		return false, nil
	}
	return false, s.Replace()
}

// Put has the keeper hold a copy of fd. The caller keeps fd open until Drop. Here and
// in Drop a keeper that does not read is replaced, which changes Socket.
func (s *Store) Put(name string, fd int) error {
	s.files[name] = fd
	return s.send(msgPut+name, fd)
}

// Drop has the keeper close its copy.
func (s *Store) Drop(name string) error {
	if _, ok := s.files[name]; !ok {
		return nil
	}
	delete(s.files, name)
	return s.send(msgDrop + name)
}

// send gives the keeper a message. A dead keeper is left to Answer, which hands over
// everything anew.
func (s *Store) send(msg string, files ...int) error {
	err := seqpacket.Send(s.socket, []byte(msg), files...)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	if errors.Is(err, syscall.EAGAIN) {
		err = s.Replace()
	}
	if err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	return nil
}

// Replace starts a new keeper with everything that the old one held. That is killed
// in case it is only stuck: when it came to itself it would take the worker for dead
// and start another.
func (s *Store) Replace() error {
	s.bury()
	ours, theirs, err := seqpacket.Pair()
	if err != nil {
		return err
	}
	socket := os.NewFile(uintptr(theirs), "keeper")
	defer socket.Close()
	if s.child, err = s.start(socket); err == nil {
		s.keeper, _ = pidfd.Open(s.child.Pid)
		err = errors.Join(seqpacket.Patience(ours, patience), give(ours, s.files))
	}
	if err != nil {
		syscall.Close(ours)
		return fmt.Errorf("start keeper: %w", err)
	}
	syscall.Close(s.socket)
	s.socket = ours
	return nil
}

func (s *Store) bury() {
	if s.keeper >= 0 {
		pidfd.Signal(s.keeper, syscall.SIGKILL)
		syscall.Close(s.keeper)
		s.keeper = -1
	}
	if s.child != nil {
		s.child.Wait()
		s.child = nil
	}
}

// give sends all files to a new keeper.
func give(socket int, files map[string]int) error {
	for name, fd := range files {
		if err := seqpacket.Send(socket, []byte(msgPut+name), fd); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the keeper, and waits until it is gone.
func (s *Store) Stop() {
	if seqpacket.Send(s.socket, []byte(msgStop)) == nil {
		seqpacket.Recv(s.socket, make([]byte, 64))
	}
}

// Ready has nothing to tell a keeper.
func (s *Store) Ready() error { return nil }
