package proto

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
	"vserver/kernel/seqpacket"
)

// Program is the name under which the binary is vserverd.
const Program = "vserverd"

// Patience bounds every wait for vserverd. It answers within a millisecond unless
// the machine is in great need; its restart takes some ten.
const Patience = 10 * time.Second

// backlog is how many clients may wait while vserverd restarts.
const backlog = 1024

// launchedVar is set in the environment of a launched vserverd. A program that is
// launched as vserverd and does not know what that is (a test binary) must not
// launch itself again and again.
const launchedVar = "VSERVERD_LAUNCHED"

// dial connects to vserverd, and has it started when nobody listens.
func dial(dirs guest.Dirs) (fd int, err error) {
	fd, err = seqpacket.Dial(dirs.Socket(), Patience)
	if nobody(err) {
		if err = Launch(dirs); err == nil {
			fd, err = seqpacket.Dial(dirs.Socket(), Patience)
		}
	}
	if err != nil {
		return -1, of(err)
	}
	return fd, nil
}

// nobody tells whether a failed connection means that no vserverd is there.
func nobody(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
}

// Launch starts vserverd unless it is there. It does not wait: the listening socket
// is made here and handed to the new process, so that clients can connect from now
// on, and are served once it is up.
func Launch(dirs guest.Dirs) error {
	if os.Getenv(launchedVar) != "" {
		return fmt.Errorf("launch: %s is not vserverd: %w", os.Args[0], guest.ErrUnsupported)
	}
	if err := MakeRun(dirs); err != nil {
		return err
	}
	unlock, err := Lock(dirs)
	if err != nil {
		return err
	}
	defer unlock()
	if Listening(dirs) {
		return nil // somebody was faster
	}
	listener, err := Listen(dirs)
	if err != nil {
		return err
	}
	socket := os.NewFile(uintptr(listener), "listener")
	defer socket.Close()
	return spawn(dirs, socket)
}

// Listening tells whether a vserverd is there. A connection alone proves nothing: it
// may be to one that is dying. The caller holds the Lock.
func Listening(dirs guest.Dirs) bool {
	for {
		fd, err := seqpacket.Dial(dirs.Socket(), Patience)
		if err == nil {
			if err = seqpacket.Send(fd, []byte(VerbPing)); err == nil {
				err = answer(fd)
			}
			syscall.Close(fd)
		}
		if !broken(err) {
			return !nobody(err)
		}
	}
}

// Awake tells whether somebody holds the socket of vserverd's, as far as a connection
// tells: one that was killed leaves its name.
func Awake(dirs guest.Dirs) bool {
	fd, err := seqpacket.Dial(dirs.Socket(), Patience)
	if err == nil {
		syscall.Close(fd)
	}
	return !nobody(err)
}

// broken tells whether vserverd died before it answered.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// MakeRun makes the directory of notes, in which vserverd's socket is, if it is not there.
func MakeRun(dirs guest.Dirs) error { return os.MkdirAll(dirs.Run, 0o711) }

// Lock is held by who starts or ends the listening of vserverd. It fails when there is no
// directory of notes.
func Lock(dirs guest.Dirs) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	lock, err := file.WaitLock(ctx, filepath.Join(dirs.Run, "vserverd.lock"))
	if err != nil {
		return nil, err
	}
	return func() { lock.Release() }, nil
}

// Listen makes vserverd's socket anew. The caller holds the Lock and knows that
// nobody listens.
func Listen(dirs guest.Dirs) (fd int, err error) {
	if err := file.Forget(dirs.Socket()); err != nil {
		return -1, err
	}
	return seqpacket.Listen(dirs.Socket(), backlog)
}

// spawn runs this program as vserverd, free of our terminal, directory and session.
func spawn(dirs guest.Dirs, socket *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	log, err := os.OpenFile(filepath.Join(dirs.Run, "vserverd.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p, err := os.StartProcess("/proc/self/exe", Args(dirs, "--keeper"), &os.ProcAttr{
		Dir:   "/",
		Env:   append(Environ(), launchedVar+"=1"),
		Files: []*os.File{null, null, log, socket},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fault.Hint(fmt.Errorf("launch vserverd: %w", err), "vserverd --foreground shows what is wrong")
	}
	go p.Wait() // it outlives us, or is taken here
	return nil
}

// Args is the command line of a vserverd process for dirs.
func Args(dirs guest.Dirs, role string) []string {
	return []string{Program, role,
		"--config=" + dirs.Config, "--data=" + dirs.Data, "--run=" + dirs.Run, "--cgroup=" + dirs.Cgroup}
}

// Environ is what a vserverd process takes over from the caller's environment: no
// shell's own matters, nor what could change how programs are loaded.
func Environ() []string {
	var env []string
	for _, name := range []string{"PATH", "LANG", "TMPDIR", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
