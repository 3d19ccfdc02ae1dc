// Package tty joins the user's terminal to a terminal of a guest: what is typed goes
// there, what is printed comes here, and so does the size of the window. Whatever
// happens, the user's terminal is given back as it was found.
package tty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"vserver/kernel/pty"
)

// Options are the ways to be attached.
type Options struct {
	// Escape is the key that detaches, as 0x1d for Ctrl-]; 0 is none. It has its
	// meaning on a terminal only.
	Escape byte
	// Resize tells the other side the size of the user's window, first and whenever
	// it changes; nil sets it on the master.
	Resize func(rows, cols uint16) error
	// EOT types an end of file (Ctrl-D) when in, which is no terminal, ends.
	EOT bool
}

// ErrDetached says that the user pressed the escape key.
var ErrDetached = errors.New("detached")

// SignalError says that a signal ended the attachment.
type SignalError struct{ Signal syscall.Signal }

func (e SignalError) Error() string { return e.Signal.String() }

// lastWords is how long what was printed may take to come out in the end.
const lastWords = 200 * time.Millisecond

// Attach joins in and out to master, the master of a terminal or a socket that stands
// for one, until that ends (nil), the escape key is pressed (ErrDetached), ctx ends or
// a signal comes (SignalError). What the other side printed before comes out first.
//
// When in is a terminal it is put into raw mode meanwhile. When it is not, bytes are
// copied as they are, and the end of in ends nothing. master does not block
// afterwards; all three stay open.
func Attach(ctx context.Context, master, in, out *os.File, o Options) error {
	a, err := newAttachment(master, in, out, o)
	if err != nil {
		return err
	}
	defer a.close()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := a.terminal.raw(); err != nil {
		return err
	}
	defer a.terminal.restore()
	a.resize()

	printed, typed := make(chan error, 1), make(chan error, 1)
	a.guard(printed, a.print)
	a.guard(typed, a.typing)
	for {
		select {
		case err := <-printed:
			return err
		case err := <-typed:
			if err != nil {
				a.settle(printed)
				return err
			}
			typed = nil // in is at its end
		case <-ctx.Done():
			a.settle(printed)
			return ctx.Err()
		case s := <-signals:
			if end := a.heed(s.(syscall.Signal)); end != nil {
				a.terminal.restore()
				a.settle(printed)
				return end
			}
		}
	}
}

// attachment is one use of Attach.
type attachment struct {
	master, in, out int
	terminal        *terminal
	o               Options
	cancel          *cancel
}

func newAttachment(master, in, out *os.File, o Options) (*attachment, error) {
	a := &attachment{o: o}
	for _, f := range []struct {
		file *os.File
		fd   *int
	}{{master, &a.master}, {in, &a.in}, {out, &a.out}} {
		c, err := f.file.SyscallConn() // Fd would make it block
		if err == nil {
			err = c.Control(func(fd uintptr) { *f.fd = int(fd) })
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.file.Name(), err)
		}
	}
	if err := syscall.SetNonblock(a.master, true); err != nil {
		return nil, fmt.Errorf("%s: %w", master.Name(), err)
	}
	a.terminal = newTerminal(a.in)
	var err error
	a.cancel, err = newCancel()
	return a, err
}

func (a *attachment) close() { a.cancel.close() }

// guard runs a part of the copying in its own goroutine. A panic there ends the
// program without any other's defers, so the terminal is restored there.
func (a *attachment) guard(done chan<- error, part func() error) {
	a.cancel.enter()
	go func() {
		defer a.cancel.leave()
		defer func() {
			if p := recover(); p != nil {
				a.terminal.restore()
				panic(p)
			}
		}()
		done <- part()
	}()
}

// settle lets come out what the other side has printed by now.
func (a *attachment) settle(printed <-chan error) {
	a.cancel.now()
	select {
	case <-printed:
	case <-time.After(lastWords): // out does not take it
	}
}

// heed does what a signal asks, and gives the error when that is the end.
func (a *attachment) heed(s syscall.Signal) error {
	switch s {
	case syscall.SIGWINCH:
		a.resize()
	case syscall.SIGCONT: // the shell may have set the terminal its own way
		a.terminal.raw()
		a.resize()
	default:
		return SignalError{s}
	}
	return nil
}

// resize tells the other side the size of the window, if there is one.
func (a *attachment) resize() {
	rows, cols, err := pty.Size(a.out)
	if err != nil {
		rows, cols, err = pty.Size(a.in)
	}
	if err != nil || rows == 0 || cols == 0 {
		return
	}
	if a.o.Resize != nil {
		a.o.Resize(rows, cols)
	} else {
		pty.Resize(a.master, rows, cols)
	}
}

// lastBytes is how much is printed after the cancel: what was on its way, and not
// what a program goes on to print.
const lastBytes = 128 << 10

// print copies from master to out. After the cancel it takes what is there.
func (a *attachment) print() error {
	w, err := newWaiter(a.master, syscall.EPOLLIN, a.cancel)
	if err != nil {
		return err
	}
	defer w.close()
	buf := make([]byte, 32<<10)
	for last, ended := 0, false; ; {
		n, err := read(a.master, buf) // the kernel first delivers what was written before
		switch {
		case n > 0:
			if err := writeAll(a.out, buf[:n]); err != nil {
				return fmt.Errorf("output: %w", err)
			}
			if a.cancel.is.Load() {
				if last += n; last > lastBytes {
					return nil
				}
			}
		case errors.Is(err, syscall.EAGAIN):
			if ended {
				return nil
			}
			ended = !w.wait()
		case err == io.EOF, errors.Is(err, syscall.EIO), errors.Is(err, syscall.ECONNRESET):
			return nil // EIO: the last who had the terminal open is gone
		default:
			return fmt.Errorf("terminal: %w", err)
		}
	}
}

// typing copies from in to master, until in ends.
func (a *attachment) typing() error {
	w, err := newWaiter(a.in, syscall.EPOLLIN, a.cancel)
	if err != nil {
		return err
	}
	defer w.close()
	room, err := newWaiter(a.master, syscall.EPOLLOUT, a.cancel)
	if err != nil {
		return err
	}
	defer room.close()
	buf := make([]byte, 4<<10)
	for w.wait() {
		n, err := read(a.in, buf)
		if errors.Is(err, syscall.EAGAIN) {
			continue
		}
		if err != nil && a.terminal.is {
			return SignalError{syscall.SIGHUP} // the user is gone
		}
		if err != nil {
			if a.o.EOT {
				a.send(room, []byte{4})
			}
			return nil
		}
		text, escaped := a.cut(buf[:n])
		if !a.send(room, text) {
			return nil
		}
		if escaped {
			return ErrDetached
		}
	}
	return nil
}

// cut gives what was typed before the escape key.
func (a *attachment) cut(text []byte) (before []byte, escaped bool) {
	if a.o.Escape == 0 || !a.terminal.is {
		return text, false
	}
	for i, c := range text {
		if c == a.o.Escape {
			return text[:i], true
		}
	}
	return text, false
}

// send writes to master, and waits when that has no room. It returns false when
// nobody is there to take it, or when it was cancelled.
func (a *attachment) send(room *waiter, text []byte) bool {
	for len(text) > 0 {
		n, err := syscall.Write(a.master, text)
		switch {
		case err == nil:
			text = text[n:]
		case errors.Is(err, syscall.EINTR):
		case !errors.Is(err, syscall.EAGAIN) || !room.wait():
			return false
		}
	}
	return true
}
