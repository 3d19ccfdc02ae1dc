// Package logtail reads console logs: the last lines, and what comes after, over
// rotations.
//
// A console log is the file PATH and, once that was full, the one before it at
// PATH.1. What a guest prints can be anything, so it is cleaned before it gets to
// somebody's terminal.
package logtail

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Options are the ways to read a log.
type Options struct {
	// Lines is how many of the last lines come first; All is all of them.
	Lines int
	// Follow goes on with what is added, until the context ends.
	Follow bool
	// Raw leaves control characters and terminal sequences in.
	Raw bool
}

// All is every line that there is.
const All = -1

// Rotated is the path of the log before the one at path.
func Rotated(path string) string { return path + ".1" }

// pause is between two looks of Follow: below what a reader notices, and rare
// enough to cost nothing.
const pause = 100 * time.Millisecond

// Copy writes the log at path to w. A log that is not there is fs.ErrNotExist, but
// with Follow it is waited for, as long as its directory is there.
func Copy(ctx context.Context, path string, w io.Writer, o Options) error {
	if !o.Raw {
		w = Clean(w)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && o.Follow {
		return follow(ctx, nil, path, w)
	}
	if err != nil {
		return err
	}
	if err = history(f, w, o.Lines); err != nil || !o.Follow {
		f.Close()
		return err
	}
	return follow(ctx, f, path, w)
}

// history writes the last lines up to the present end of f, and leaves f there.
func history(f *os.File, w io.Writer, lines int) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	at, found, err := lastLines(f, size, lines)
	if err != nil {
		return err
	}
	if at == 0 && (lines == All || found < lines) {
		if err := older(Rotated(f.Name()), w, lines, found); err != nil {
			return err
		}
	}
	_, err = io.Copy(w, io.NewSectionReader(f, at, size-at))
	return err
}

// older writes what the log before has of the wanted lines.
func older(path string, w io.Writer, lines, found int) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if lines != All {
		lines -= found
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	at, _, err := lastLines(f, size, lines)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(f, at, size-at))
	return err
}

// lastLines finds where the last lines of the first size bytes begin, and how many
// there are; an unfinished line at the end counts.
func lastLines(r io.ReaderAt, size int64, lines int) (at int64, found int, err error) {
	if lines == All || lines == 0 || size == 0 {
		if lines == 0 {
			at = size
		}
		return at, 0, nil
	}
	buf := make([]byte, 8<<10)
	for end := size; end > 0; {
		block := buf[:min(int64(len(buf)), end)]
		if _, err := r.ReadAt(block, end-int64(len(block))); err != nil && err != io.EOF {
			return 0, 0, err
		}
		end -= int64(len(block))
		for i := len(block); ; {
			if i = bytes.LastIndexByte(block[:i], '\n'); i < 0 {
				break
			}
			if after := end + int64(i) + 1; after < size {
				if found++; found == lines {
					return after, found, nil
				}
			}
		}
	}
	return 0, found + 1, nil
}

// follow writes what is added to the log, of which f (nil: not there yet) is read.
func follow(ctx context.Context, f *os.File, path string, w io.Writer) error {
	t := &Tail{path, f}
	defer t.Close()
	for {
		if err := t.Write(w); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
			return nil // the guest is deleted
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// Tail is a place in a log.
type Tail struct {
	path string
	f    *os.File // nil: not there yet
}

// End is the present end of the log at path, which need not be there. Beyond it is what is
// added from now on.
func End(path string) (*Tail, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Tail{path, nil}, nil
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	return &Tail{path, f}, err
}

// Close releases the log.
func (t *Tail) Close() { t.f.Close() }

// Write writes what the log has now beyond the place, which goes there.
func (t *Tail) Write(w io.Writer) error {
	for {
		if t.f != nil {
			if _, err := io.Copy(w, t.f); err != nil {
				return err
			}
			if at, err := t.f.Seek(0, io.SeekCurrent); err == nil && shrunk(t.f, at) {
				t.f.Seek(0, io.SeekStart)
			}
		}
		next, err := newer(t.f, t.path)
		if next == nil || err != nil {
			return err
		}
		if t.f != nil {
			io.Copy(w, t.f) // what came before the rotation
			t.f.Close()
		}
		t.f = next
	}
}

// newer opens path when that is another file than f.
func newer(f *os.File, path string) (*os.File, error) {
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if f != nil {
		if was, err := f.Stat(); err != nil || os.SameFile(was, now) {
			return nil, err
		}
	}
	next, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return next, err
}

// shrunk tells whether somebody emptied the file that is read up to at.
func shrunk(f *os.File, at int64) bool {
	st, err := f.Stat()
	return err == nil && st.Size() < at
}
