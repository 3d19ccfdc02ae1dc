// Package stdio is the standard files of a command in a guest, as files of the host.
package stdio

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"vserver/kernel/pty"
	"vserver/tty"
)

// Files are a command's standard files. Files and pipes are handed in as they are, at
// native speed. A terminal of the host never is: what a guest can do to one (typing
// into it with TIOCSTI, for one) is done to whoever sits at it. In its place the guest
// gets a pipe, or a terminal of its own.
type Files struct {
	// Child are the descriptors that the command gets as 0, 1 and 2.
	Child [3]int

	master *os.File // of a terminal
	ours   []*os.File
	theirs []*os.File // our copies of the child's ends
	copies sync.WaitGroup
	cancel context.CancelFunc
	pumps  []func()
}

// Plain hands in standard input, output and error; nil is /dev/null.
func Plain(in, out, err *os.File) (*Files, error) {
	s := &Files{}
	for i, f := range []*os.File{in, out, err} {
		if err := s.plain(i, f); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// Terminal opens a terminal in the devpts of a guest, whose init is process pid and whose
// root has id base here, and joins it to in and out, which should be a terminal here.
func Terminal(pid int, base uint32, in, out *os.File) (*Files, error) {
	master, slave, err := pty.OpenIn(pid, base)
	if err != nil {
		return nil, fmt.Errorf("terminal in the guest: %w", err)
	}
	fd := int(slave.Fd())
	s := &Files{master: master, theirs: []*os.File{slave}, Child: [3]int{fd, fd, fd}}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.pumps = append(s.pumps, func() {
		// How it ended is told by the command: a signal to us has been passed on to it.
		tty.Attach(ctx, master, in, out, tty.Options{EOT: true})
	})
	return s, nil
}

// plain hands in f as file i.
func (s *Files) plain(i int, f *os.File) error {
	if f == nil {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		s.theirs = append(s.theirs, null)
		f = null
	}
	if pty.IsTerminal(f) {
		return s.pipe(i, f)
	}
	s.Child[i] = int(f.Fd())
	return nil
}

// pipe puts a pipe between the command's file i and the terminal f.
func (s *Files) pipe(i int, f *os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	s.ours = append(s.ours, r, w)
	if i == 0 {
		s.Child[0] = int(r.Fd())
		s.theirs = append(s.theirs, r)
		s.pumps = append(s.pumps, func() {
			// It may sit in a read of the terminal for ever; nobody waits for it.
			go func() {
				io.Copy(w, f)
				w.Close()
			}()
		})
		return nil
	}
	s.Child[i] = int(w.Fd())
	s.theirs = append(s.theirs, w)
	s.pumps = append(s.pumps, func() { s.copies.Go(func() { io.Copy(f, r) }) })
	return nil
}

// Started is called when the child has its files: ours are closed, so that the end
// of file comes through, and the copying begins.
func (s *Files) Started() {
	for _, f := range s.theirs {
		f.Close()
	}
	s.theirs = nil
	for _, pump := range s.pumps {
		if s.master != nil {
			s.copies.Go(pump)
		} else {
			pump()
		}
	}
}

// Drain waits until what the command wrote has come out.
func (s *Files) Drain() {
	s.copies.Wait()
}

// Close lets go of everything, after what the command wrote has come out.
func (s *Files) Close() {
	if s.cancel != nil {
		s.cancel()
	}
	s.copies.Wait()
	for _, f := range append(append(s.ours, s.theirs...), s.master) {
		if f != nil {
			f.Close()
		}
	}
}
