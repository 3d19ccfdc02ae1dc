// Package task is one archive to unpack, as words between two processes: who asks, and who
// does it where there is nothing of the host (package imagetool).
package task

import (
	"bufio"
	"context"
	"errors"
	"io"
	"syscall"

	"vserver/archive"
	"vserver/kernel/file"
)

// Task is one archive to unpack.
type Task struct {
	Root    string // what the directory is called in messages
	Layer   bool   // of an OCI image
	Options archive.Options
	Done    archive.Progress // by those before
}

// Most bounds a Task and an Outcome, as text, in bytes: the names of all devices of a hostile image.
const Most = 64 << 20

// Outcome is how it went.
type Outcome struct {
	Done    archive.Progress
	Taken   int64 // bytes of the stream
	Error   string
	Hostile bool          // it is archive.ErrHostile
	Errno   syscall.Errno // what the kernel said; 0 for nothing
}

// Ahead is how far beyond what it takes Do reads in bytes, at most.
const Ahead = 64 << 10

// Do does the task. packed is archive.Unpacker's.
func (t Task) Do(ctx context.Context, root *file.Dir, r io.Reader, packed func() int64) (o Outcome) {
	u := archive.New(root)
	u.Options, u.Packed, u.Done = t.Options, packed, t.Done
	unpack := u.Tar
	if t.Layer {
		unpack = u.Layer
	}
	err := unpack(ctx, bufio.NewReaderSize(r, Ahead))
	if o.Done, o.Taken = u.Done, u.Taken; err != nil {
		o.Error, o.Hostile = err.Error(), errors.Is(err, archive.ErrHostile)
		errors.As(err, &o.Errno)
	}
	return o
}

// Err is the error of an outcome, nil for none.
func (o Outcome) Err() error {
	if o.Error == "" {
		return nil
	}
	f := failure{text: o.Error}
	if o.Hostile {
		f.is = append(f.is, archive.ErrHostile)
	}
	if o.Errno != 0 {
		f.is = append(f.is, o.Errno)
	}
	return f
}

// failure is an error of another process: its text, and what it is.
type failure struct {
	text string
	is   []error
}

func (f failure) Error() string   { return f.text }
func (f failure) Unwrap() []error { return f.is }
