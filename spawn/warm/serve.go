package warm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/kernel/clock"
	"vserver/kernel/file"
	"vserver/kernel/seqpacket"
)

const (
	// silence is how long a caller may take to say what it wants.
	silence = time.Second
	// Idle is after how long nobody is expected to ask any more.
	Idle = 10 * time.Second
	// quiet is after how long the memory in which commands were is given back.
	quiet = time.Second / 2
	// mostMemory is where that is done in the middle of them.
	mostMemory = 16 << 20
	backlog    = 64
	// lifeline is the descriptor whose other end vserverd holds.
	lifeline = 3
)

// Work is what the warm process can do.
type Work struct {
	// Root is what VSERVER_ROOT is, and Notes the directory of notes.
	Root, Notes string
	// Run does what the words of a command line say, on the standard files of this process, and
	// gives the exit code. It ends early, undoing what it did, when ctx does.
	Run func(ctx context.Context, words []string) int
	// Plain tells whether that does not touch what is the caller's own beside those files, as
	// its environment, for the guest of this name.
	Plain func(name string) bool
}

// server is the warm process.
type server struct {
	work Work
	us   caller
	here place
	rest *time.Timer
	tidy *time.Timer

	mu   sync.Mutex
	busy bool
	over bool // no more is taken, and the process ends when it is not busy
}

// Main is the warm process. It ends with vserverd, or when nobody has asked it for a while.
func Main(w Work) int {
	// Standard error is soon that of others.
	own, err := syscall.Dup(2)
	if err != nil {
		return 1
	}
	syscall.CloseOnExec(own)
	if err := serve(w); err != nil {
		fmt.Fprintln(os.NewFile(uintptr(own), "log"), "vserverd: warm process:", err)
		return 1
	}
	return 0
}

func serve(w Work) error {
	runtime.GOMAXPROCS(processors)
	clock.Relax(time.Millisecond)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(mostMemory)
	os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0) // vserverd's is not for guests; a caller's has to be like ours
	s := &server{work: w}
	s.us.look()
	var err error
	if s.here, err = look("self"); err != nil {
		return err
	}
	path := Path(w.Notes)
	if err := file.Forget(path); err != nil {
		return err
	}
	fd, err := seqpacket.Listen(path, backlog)
	if err != nil {
		return err
	}
	s.rest = time.AfterFunc(Idle, s.end)
	s.tidy = time.AfterFunc(quiet, debug.FreeOSMemory)
	if err := s.holdOn(); err != nil {
		return err
	}
	return s.accept(fd)
}

// processors is for the command and for who says meanwhile that there is one. With more the
// runtime wakes more threads, with one it is late to see that one waits in the kernel.
const processors = 2

// holdOn ends the process when vserverd lets go of it.
func (s *server) holdOn() error {
	if err := syscall.SetNonblock(lifeline, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	syscall.CloseOnExec(lifeline)
	line := os.NewFile(lifeline, "vserverd")
	go func() {
		line.Read(make([]byte, 1))
		s.end()
	}()
	return nil
}

// end has the process end, after what it does.
func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if !s.busy {
		os.Exit(0)
	}
}

// take makes the process busy, unless it is.
func (s *server) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || s.over {
		return false
	}
	s.busy = true
	s.tidy.Stop()
	return true
}

// leave ends that. A process that refuses all who ask, as they run a newer program, is no use.
func (s *server) leave(refused bool) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	s.tidy.Reset(quiet)
	if !refused {
		s.rest.Reset(Idle)
	}
	return s.over
}

// accept takes connections. One command is done at a time: they share the standard files.
func (s *server) accept(listener int) error {
	if err := syscall.SetNonblock(listener, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	l, err := os.NewFile(uintptr(listener), "socket").SyscallConn()
	if err != nil {
		return err
	}
	for {
		fd, failed := -1, error(nil)
		err := l.Read(func(uintptr) bool {
			fd, failed = seqpacket.Accept(listener)
			return !errors.Is(failed, syscall.EAGAIN)
		})
		if err = errors.Join(err, failed); err != nil {
			return err
		}
		if s.take() {
			go s.serve(os.NewFile(uintptr(fd), "caller"), fd)
			continue
		}
		seqpacket.Send(fd, []byte{refused, 0})
		syscall.Close(fd)
	}
}

// serve does what one caller asks.
func (s *server) serve(conn *os.File, fd int) {
	defer conn.Close()
	code, err := s.attend(conn, fd)
	last := s.leave(err != nil)
	if err != nil {
		seqpacket.Send(fd, []byte{refused, 0})
	} else {
		seqpacket.Send(fd, []byte{done, byte(code)})
	}
	if last {
		os.Exit(0)
	}
}

// errOther says that the caller is not in our place.
var errOther = errors.New("another place")

// attend does it; an error means that nothing was done.
func (s *server) attend(conn *os.File, fd int) (code int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	conn.SetReadDeadline(time.Now().Add(silence))
	message, files, err := receive(raw, fd)
	closeAll(files)
	if err != nil {
		return 0, err
	}
	words, err := s.admit(fd, message)
	if err == nil {
		err = seqpacket.Send(fd, []byte{taken, 0})
	}
	if err != nil {
		return 0, err
	}
	_, files, err = receive(raw, fd)
	defer closeAll(files)
	if err == nil {
		err = fit(files)
	}
	if err != nil {
		return 0, err
	}
	conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // a word means that it was interrupted, the end that it was killed
		_, files, _ := receive(raw, fd)
		closeAll(files)
		cancel()
	}()
	defer silent()
	if err := give(files); err != nil {
		return 0, err
	}
	return s.work.Run(ctx, words), nil
}

// receive waits for a message.
func receive(raw syscall.RawConn, fd int) (message []byte, files []int, err error) {
	buf := make([]byte, maxMessage)
	n, failed := 0, error(nil)
	err = raw.Read(func(uintptr) bool {
		n, files, failed = seqpacket.Recv(fd, buf)
		return !errors.Is(failed, syscall.EAGAIN)
	})
	return buf[:n], files, errors.Join(err, failed)
}

// admit finds the words of a caller for whom we can work, and becomes like it.
func (s *server) admit(fd int, message []byte) (words []string, err error) {
	uid, err := seqpacket.PeerUID(fd)
	if err != nil {
		return nil, err
	}
	pid, err := seqpacket.PeerPID(fd)
	if err != nil {
		return nil, err
	}
	var them caller
	size := int(unsafe.Sizeof(them))
	if uid != 0 || pid == 0 || len(message) <= size {
		return nil, errOther
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&them)), size), message)
	root, rest, _ := strings.Cut(strings.TrimSuffix(string(message[size:]), "\x00"), "\x00")
	if root != s.work.Root || !them.like(&s.us) {
		return nil, errOther
	}
	words = strings.Split(rest, "\x00")
	if !s.plain(words) {
		return nil, errOther
	}
	if there, err := look(fmt.Sprint(pid)); err != nil || there != s.here {
		return nil, errors.Join(err, errOther)
	}
	return words, become(&them)
}

// fit tells whether files can be our standard ones, which were waited in when this process began.
func fit(files []int) error {
	if len(files) != 3 {
		return errOther
	}
	for _, f := range files {
		flags, err := unix.FcntlInt(uintptr(f), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK != 0 {
			return errors.Join(err, errOther)
		}
	}
	return nil
}

func closeAll(files []int) {
	for _, f := range files {
		syscall.Close(f)
	}
}

// plain tells whether what the words say, which ahead has found plain, is so for the guest as
// well. Around what is done to the files of one no programs run.
func (s *server) plain(words []string) bool {
	if len(words) < 3 {
		return false
	}
	verb, name := words[1], words[2]
	if !slices.Contains(verbs(), verb) {
		verb, name = name, verb
	}
	return slices.Contains([]string{clone, snapshot, rollback}, verb) || s.work.Plain(name)
}

// give makes the caller's standard files ours.
func give(files []int) error {
	for i, f := range files {
		if err := syscall.Dup3(f, i, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	return nil
}

// silent lets go of them.
func silent() {
	if null, err := syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0); err == nil {
		give([]int{null, null, null})
		syscall.Close(null)
	}
}
