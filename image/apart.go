package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"vserver/archive"
	"vserver/archive/task"
	"vserver/kernel/file"
	"vserver/kernel/memfd"
)

// Unpacker unpacks tar streams one over the other into a directory, each in a process that
// has nothing of the host but that directory: its own namespaces, an empty root, the
// capabilities that it takes to make files, the filter of a guest, bounded memory.
type Unpacker struct {
	archive.Options
	// Packed is archive.Unpacker's.
	Packed func() int64

	tool Tool
	root *file.Dir
	done archive.Progress
}

// NewUnpacker gives one for the directory root, which nobody else changes meanwhile.
func NewUnpacker(tool Tool, root *file.Dir) *Unpacker {
	return &Unpacker{Options: archive.Options{Limits: archive.Default()}, tool: tool, root: root}
}

// Report tells what was done so far.
func (u *Unpacker) Report() archive.Report { return u.done.Report }

// Tar unpacks the next archive of a stream.
func (u *Unpacker) Tar(ctx context.Context, s *Stream) error { return u.unpack(ctx, s, false) }

// Layer unpacks a layer of an OCI image over those before.
func (u *Unpacker) Layer(ctx context.Context, s *Stream) error { return u.unpack(ctx, s, true) }

func (u *Unpacker) unpack(ctx context.Context, s *Stream, layer bool) error {
	root, err := u.root.File()
	if err != nil {
		return err
	}
	defer root.Close()
	words, err := u.words(layer)
	if err != nil {
		return err
	}
	defer words.Close()
	in, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	defer feed.Close()
	c, err := startWith(ctx, u.tool, in, apart, []*os.File{root, words}, "unpack")
	in.Close()
	if err != nil {
		return err
	}
	over := make(chan error, 1)
	var o task.Outcome
	go func() {
		err := json.NewDecoder(io.LimitReader(c, task.Most)).Decode(&o)
		feed.SetWriteDeadline(time.Now()) // it takes no more
		over <- err
	}()
	ferr := u.feed(s, feed, words)
	feed.Close()
	if ferr != nil {
		c.cmd.Process.Kill()
	}
	oerr := <-over
	if err := c.end(errors.Join(ferr, ctx.Err())); err != nil {
		return err
	}
	if oerr != nil {
		return fmt.Errorf("%s: %w", c.name, oerr)
	}
	u.done = o.Done
	return errors.Join(o.Err(), s.took(o.Taken))
}

// words writes down what is to be done.
func (u *Unpacker) words(layer bool) (*os.File, error) {
	text, err := task.Task{Root: u.root.Path(), Layer: layer, Options: u.Options, Done: u.done}.Text()
	if err != nil {
		return nil, err
	}
	fd, err := memfd.Shared("unpack", int64(len(text)))
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "task")
	if _, err = f.WriteAt(text, 0); err == nil {
		err = u.tell(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// tell tells the process how much of the packed stream was read.
func (u *Unpacker) tell(words *os.File) error {
	if u.Packed == nil {
		return nil
	}
	return task.Tell(words, u.Packed())
}

// feed gives the process what s has, until it takes no more.
func (u *Unpacker) feed(s *Stream, to, words *os.File) error {
	buf := make([]byte, 256<<10)
	for {
		n, rerr := s.next(buf)
		if err := u.tell(words); err != nil {
			return err
		}
		_, werr := to.Write(buf[:n])
		switch {
		case errors.Is(werr, os.ErrDeadlineExceeded), errors.Is(werr, syscall.EPIPE):
			return nil
		case werr != nil:
			return werr
		case errors.Is(rerr, io.EOF):
			return nil
		case rerr != nil:
			return rerr
		}
	}
}
