package main

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// archive writes a cpio archive of the form newc, which the kernel unpacks as its
// first root (Documentation/driver-api/early-userspace/buffer-format.rst). Parents
// are made on the way; a name that is there already is left as it is.
type archive struct {
	w    io.Writer
	at   int64 // bytes written
	have map[string]bool
	err  error // the first one; afterwards nothing is written
}

func newArchive(w io.Writer) *archive {
	return &archive{w: w, have: map[string]bool{"": true, ".": true}}
}

// Types of files in a mode, stat(2).
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

// dir adds a directory.
func (a *archive) dir(name string) { a.add(name, modeDir|0o755, 0, nil) }

// data adds a file with this content.
func (a *archive) data(name string, perm int, text string) {
	a.add(name, modeFile|perm, int64(len(text)), strings.NewReader(text))
}

// link adds a symbolic link.
func (a *archive) link(name, target string) {
	a.add(name, modeLink|0o777, int64(len(target)), strings.NewReader(target))
}

// file adds a copy of the host's file, with its permissions.
func (a *archive) file(name, source string) {
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

// add writes one entry.
func (a *archive) add(name string, mode int, size int64, content io.Reader) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if a.err != nil || a.have[name] {
		return
	}
	a.have[name] = true
	a.dir(path.Dir(name))
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
func (a *archive) header(name string, mode int, size int64) {
	ino, nlink := len(a.have), 1
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		ino, mode, 0, 0, nlink, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
}

// pad fills up to a multiple of four bytes.
func (a *archive) pad() {
	if n := a.at % 4; n != 0 {
		a.Write(make([]byte, 4-n))
	}
}

// Write passes bytes on and counts them.
func (a *archive) Write(b []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.w.Write(b)
	a.at += int64(n)
	a.fail(err)
	return n, err
}

func (a *archive) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// close writes the trailer and gives the first error of all.
func (a *archive) close() error {
	a.header("TRAILER!!!", 0, 0)
	return a.err
}
