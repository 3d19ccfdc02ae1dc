// Package cpio writes archives of the form newc, which the kernel unpacks as its first root.
package cpio

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// Archive is one on its way (Documentation/driver-api/early-userspace/buffer-format.rst).
// Parents are made as they are needed; a name that is there already is left as it is. The
// first error is that of Close.
type Archive struct {
	w    io.Writer
	at   int64 // bytes written
	have map[string]bool
	err  error // the first one; afterwards nothing is written
}

// New begins an archive.
func New(w io.Writer) *Archive {
	return &Archive{w: w, have: map[string]bool{"": true, ".": true}}
}

// Types of files in a mode, stat(2).
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

// Dir adds a directory.
func (a *Archive) Dir(name string) { a.add(name, modeDir|0o755, 0, nil) }

// Data adds a file with this content.
func (a *Archive) Data(name string, perm int, text string) {
	a.add(name, modeFile|perm, int64(len(text)), strings.NewReader(text))
}

// Link adds a symbolic link.
func (a *Archive) Link(name, target string) {
	a.add(name, modeLink|0o777, int64(len(target)), strings.NewReader(target))
}

// File adds a copy of the host's file, with its permissions.
func (a *Archive) File(name, source string) {
	f, err := os.Open(source)
	if err != nil {
		a.fail(err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		a.fail(err)
		return
	}
	a.add(name, modeFile|int(info.Mode().Perm()), info.Size(), f)
}

// Has tells whether there is something of that name.
func (a *Archive) Has(name string) bool { return a.have[name] }

// add writes one entry.
func (a *Archive) add(name string, mode int, size int64, content io.Reader) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if a.err != nil || a.have[name] {
		return
	}
	a.have[name] = true
	a.Dir(path.Dir(name))
	a.header(name, mode, size)
	if content != nil {
		n, err := io.Copy(a, io.LimitReader(content, size))
		if err == nil && n != size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			a.fail(fmt.Errorf("pack %s: %w", name, err))
		}
	}
	a.pad()
}

// header writes the fixed part: thirteen numbers in hexadecimal, then the name.
func (a *Archive) header(name string, mode int, size int64) {
	ino, nlink := len(a.have), 1
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		ino, mode, 0, 0, nlink, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
}

// pad fills up to a multiple of four bytes.
func (a *Archive) pad() {
	if n := a.at % 4; n != 0 {
		a.Write(make([]byte, 4-n))
	}
}

// Write passes bytes on and counts them.
func (a *Archive) Write(b []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.w.Write(b)
	a.at += int64(n)
	a.fail(err)
	return n, err
}

func (a *Archive) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// Close writes the trailer and gives the first error of all.
func (a *Archive) Close() error {
	a.header("TRAILER!!!", 0, 0)
	return a.err
}
