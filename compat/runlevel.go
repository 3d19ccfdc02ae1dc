package compat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"vserver/kernel/file"
)

// newFakerunlevel writes a runlevel into the utmp of a guest whose root is the working
// directory, for guests without an init of their own.
func newFakerunlevel(*call) run {
	return func(words []string) error {
		if len(words) != 2 {
			return usagef("want a runlevel and a file")
		}
		level, err := strconv.Atoi(words[0])
		if err != nil || level < 0 || level > 9 {
			return usagef("runlevel %q: want 0 to 9", words[0])
		}
		dir, err := file.Inside(filepath.Dir(words[1]))
		if err != nil {
			return err
		}
		defer dir.Close()
		path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(words[1]))
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o664)
		if err != nil {
			return err
		}
		defer f.Close()
		if gid, err := strconv.Atoi(os.Getenv("UTMP_GID")); err == nil {
			if err := f.Chown(-1, gid); err != nil {
				return err
			}
		}
		return putRunlevel(f, level)
	}
}

// runLevel is the type of the record, RUN_LVL of utmp.h.
const runLevel = 1

// recordSize is that of struct utmp: 64-bit x86 keeps the times of 32 bits.
func recordSize() int64 {
	if runtime.GOARCH == "arm64" {
		return 400
	}
	return 384
}

// putRunlevel writes the record in the place of another one, or behind all.
func putRunlevel(f io.ReadWriteSeeker, level int) error {
	record := make([]byte, recordSize())
	at := int64(0)
	for ; ; at += recordSize() {
		_, err := io.ReadFull(f, record)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
		if binary.NativeEndian.Uint16(record) == runLevel {
			break
		}
	}
	clear(record)
	binary.NativeEndian.PutUint16(record, runLevel)
	binary.NativeEndian.PutUint32(record[4:], uint32('#'<<8+'0'+level))
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return err
	}
	_, err := f.Write(record)
	return err
}
