package tty

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// cancel ends all waits at once: a pipe that every waiter watches too, whose writing
// end is closed.
type cancel struct {
	r, w  int
	is    atomic.Bool
	once  sync.Once
	users sync.WaitGroup
}

func newCancel() (*cancel, error) {
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	c := &cancel{r: p[0], w: p[1]}
	c.users.Add(1)
	return c, nil
}

// now cancels.
func (c *cancel) now() {
	c.once.Do(func() {
		c.is.Store(true)
		syscall.Close(c.w)
	})
}

// enter and leave stand around the use of waiters.
func (c *cancel) enter() { c.users.Add(1) }
func (c *cancel) leave() { c.users.Done() }

// close cancels, and frees the pipe when the last waiter has left: one may sit in a
// write to an output that takes nothing, and nobody waits for that.
func (c *cancel) close() {
	c.now()
	c.users.Done()
	go func() {
		c.users.Wait()
		syscall.Close(c.r)
	}()
}

// waiter waits until a descriptor is ready, or the cancel.
type waiter struct {
	epoll  int
	cancel int32
	always bool // a regular file: it never blocks, and epoll does not take it
}

func newWaiter(fd int, events uint32, c *cancel) (*waiter, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	w := &waiter{epoll: ep, cancel: int32(c.r)}
	err = syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, c.r, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: w.cancel})
	if err == nil {
		err = syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
		if errors.Is(err, syscall.EPERM) {
			w.always, err = true, nil
		}
	}
	if err != nil {
		w.close()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return w, nil
}

// wait returns true when the descriptor is ready, false at the cancel.
func (w *waiter) wait() bool {
	timeout := -1
	if w.always {
		timeout = 0
	}
	var events [2]syscall.EpollEvent
	for {
		n, err := syscall.EpollWait(w.epoll, events[:], timeout)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == w.cancel {
				return false
			}
		}
		return err == nil
	}
}

func (w *waiter) close() { syscall.Close(w.epoll) }

// read gives io.EOF at the end.
func read(fd int, buf []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, buf)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// writeAll writes to the user's output, also when another program made it not block.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Write(fd, b)
		switch {
		case err == nil:
			b = b[n:]
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			if err := await(fd); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// await waits until fd takes output.
func await(fd int) error {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	defer syscall.Close(ep)
	if err := syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLOUT, Fd: int32(fd)}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	var events [1]syscall.EpollEvent
	for {
		if _, err = syscall.EpollWait(ep, events[:], -1); !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("epoll_wait", err)
		}
	}
}
