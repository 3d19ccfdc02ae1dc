// Package keeper holds open files for vserverd's worker, so that they outlive it.
//
// vserverd is two processes. The worker does everything; the keeper does nothing but
// hold copies of the listening socket, the terminals, the log pipes and the pidfds,
// each under a name, and start the worker again when that dies. What a guest prints
// meanwhile waits in the kernel's buffers. When the keeper dies, the worker starts
// another and hands it everything. Only both at once lose the terminals.
//
//	keeper  holds name -> file    --- socket pair --->  worker   put, drop, stop
//	        starts the worker     <--- socket pair ---           put ..., ready; stop
//
// Where systemd is the parent, its file descriptor store is the keeper, with the same
// names, and there is one process only.
package keeper

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"vserver/kernel/seqpacket"
)

// MaxName is the longest name of a file in bytes, as systemd has it. Names are
// printable ASCII without a colon.
const MaxName = 255

// Inherited is the descriptor that a keeper or worker finds open at its birth.
const Inherited = 3

// The messages of the socket pair; put carries a file.
const (
	msgPut   = "put "
	msgDrop  = "drop "
	msgReady = "ready"
	msgStop  = "stop"
)

// Keeper is the state of a keeper process.
type Keeper struct {
	// Start starts a worker with the given socket as its descriptor Inherited.
	Start func(socket *os.File) (*os.Process, error)
	// Say takes a line for the log.
	Say func(format string, args ...any)

	files    map[string]int
	worker   atomic.Int32 // our end of the pair, -1 when there is none
	child    *os.Process
	stopping chan struct{} // closed by a signal
}

// New gives a keeper that holds nothing yet.
func New(start func(*os.File) (*os.Process, error), say func(string, ...any)) *Keeper {
	k := &Keeper{Start: start, Say: say, files: map[string]int{}, stopping: make(chan struct{})}
	k.worker.Store(-1)
	return k
}

// Hold takes a file, which is the keeper's from now on.
func (k *Keeper) Hold(name string, fd int) { k.put(name, fd) }

// Adopt takes the socket pair to a worker that is there already.
func (k *Keeper) Adopt(socket int) { k.worker.Store(int32(socket)) }

// Run keeps until the worker says stop, or SIGTERM or SIGINT comes, which ends the
// worker too. The worker is started as often as it dies.
func (k *Keeper) Run() error {
	k.heed()
	deaths := 0 // in a row
	for {
		begin := time.Now()
		if k.worker.Load() < 0 {
			if err := k.startWorker(); err != nil {
				k.Say("start worker: %v", err)
			}
		}
		if k.serve() {
			return nil
		}
		k.bury()
		if deaths++; time.Since(begin) > quickDeath {
			deaths = 1
		}
		select {
		case <-k.stopping:
			return nil
		case <-time.After(min(time.Duration(deaths)*shortPause, longPause)):
			k.Say("the worker is gone; another comes")
		}
	}
}

// heed has the signals that end a keeper end its worker first.
func (k *Keeper) heed() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		close(k.stopping)
		k.stopWorker()
	}()
}

func (k *Keeper) stopWorker() {
	if fd := k.worker.Load(); fd >= 0 {
		seqpacket.Send(int(fd), []byte(msgStop))
	}
}

// Each worker in a row that dies within quickDeath makes the next one wait a
// shortPause longer.
const (
	quickDeath = 2 * time.Second
	shortPause = 4 * time.Millisecond
	longPause  = time.Second
)

// startWorker starts a worker and hands it all that is held.
func (k *Keeper) startWorker() error {
	ours, theirs, err := seqpacket.Pair()
	if err != nil {
		return err
	}
	socket := os.NewFile(uintptr(theirs), "worker")
	defer socket.Close()
	if k.child, err = k.Start(socket); err != nil {
		syscall.Close(ours)
		return err
	}
	if err = give(ours, k.files); err == nil {
		err = seqpacket.Send(ours, []byte(msgReady))
	}
	k.worker.Store(int32(ours))
	select {
	case <-k.stopping: // it may not have seen this worker
		k.stopWorker()
	default:
	}
	return err
}

// serve does what the worker asks, until it dies. It returns true when that is the
// end.
func (k *Keeper) serve() (end bool) {
	worker := int(k.worker.Load())
	if worker < 0 {
		return false
	}
	buf := make([]byte, 2*MaxName)
	for {
		n, files, err := seqpacket.Recv(worker, buf)
		if err != nil {
			if err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
				k.Say("worker: %v", err)
			}
			return false
		}
		msg := string(buf[:n])
		if name, ok := strings.CutPrefix(msg, msgPut); ok && len(files) == 1 {
			k.put(name, files[0])
			continue
		}
		for _, fd := range files {
			syscall.Close(fd)
		}
		if name, ok := strings.CutPrefix(msg, msgDrop); ok {
			k.drop(name)
		}
		if msg == msgStop {
			return true
		}
	}
}

// bury takes what is left of a dead worker.
func (k *Keeper) bury() {
	if fd := k.worker.Swap(-1); fd >= 0 {
		syscall.Close(int(fd))
	}
	if k.child != nil {
		k.child.Kill() // it closed its socket: whatever it still does, it is not ours
		if state, err := k.child.Wait(); err == nil && !state.Success() {
			k.Say("worker: %v", state)
		}
		k.child = nil
	}
}

func (k *Keeper) put(name string, fd int) {
	k.drop(name)
	k.files[name] = fd
}

func (k *Keeper) drop(name string) {
	if fd, ok := k.files[name]; ok {
		syscall.Close(fd)
		delete(k.files, name)
	}
}
