package host

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"vserver/kernel/pty"
	"vserver/tty"
)

// stdio is what becomes of a command's standard files. Files and pipes are handed in
// as they are, at native speed. A terminal of the host never is: what a guest can do
// to one (typing into it with TIOCSTI, for one) is done to whoever sits at it. In its
// place the guest gets a pipe, or with a TTY a terminal of its own.
type stdio struct {
	child  [3]int
	master *os.File // with a TTY
	ours   []*os.File
	theirs []*os.File // our copies of the child's ends
	copies sync.WaitGroup
	cancel context.CancelFunc
	pumps  []func()
}

func newStdio(in *inside, c Command) (*stdio, error) {
	s := &stdio{}
	var err error
	if c.TTY {
		err = s.terminal(in, c)
	} else {
		err = s.files(c)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// terminal opens a terminal in the guest's own devpts.
func (s *stdio) terminal(in *inside, c Command) error {
	master, slave, err := pty.OpenIn(in.note.PID, in.note.Base)
	if err != nil {
		return fmt.Errorf("terminal in the guest: %w", err)
	}
	s.master, s.theirs = master, []*os.File{slave}
	fd := int(slave.Fd())
	s.child = [3]int{fd, fd, fd}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.pumps = append(s.pumps, func() {
		// How it ended is told by the command: a signal to us has been passed on to it.
		tty.Attach(ctx, master, c.Stdin, c.Stdout, tty.Options{EOT: true})
	})
	return nil
}

func (s *stdio) files(c Command) error {
	for i, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		if f == nil {
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			s.theirs = append(s.theirs, null)
			f = null
		}
		if !pty.IsTerminal(f) {
			s.child[i] = int(f.Fd())
			continue
		}
		if err := s.pipe(i, f); err != nil {
			return err
		}
	}
	return nil
}

// pipe puts a pipe between the command's file i and the terminal f.
func (s *stdio) pipe(i int, f *os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	s.ours = append(s.ours, r, w)
	if i == 0 {
		s.child[0] = int(r.Fd())
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
	s.child[i] = int(w.Fd())
	s.theirs = append(s.theirs, w)
	s.pumps = append(s.pumps, func() { s.copies.Go(func() { io.Copy(f, r) }) })
	return nil
}

// started is called when the child has its files: ours are closed, so that the end
// of file comes through, and the copying begins.
func (s *stdio) started() {
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

// drain waits until what the command wrote has come out.
func (s *stdio) drain() {
	s.copies.Wait()
}

func (s *stdio) close() {
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
