package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Segment is a part of a file that has content; what lies between segments are holes.
type Segment struct{ At, Len int64 }

// Segments gives the parts of a file's first size bytes that are no holes, at most max of
// them: of a file with more the smallest holes are taken in. Where the file system knows no
// holes it is one.
func Segments(f *os.File, size int64, max int) (out []Segment, err error) {
	least := int64(1) // a hole that counts
	for at := int64(0); at < size; {
		from, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole to the end
		}
		if err != nil {
			return nil, err
		}
		to, err := f.Seek(from, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		if to = min(to, size); from < to {
			out = append(out, Segment{from, to - from})
		}
		for len(out) > max {
			least *= 2
			out = joined(out, least)
		}
		at = to
	}
	return out, nil
}

// joined makes one of neighbours with a hole of less than least bytes between them.
func joined(list []Segment, least int64) []Segment {
	out := list[:1]
	for _, s := range list[1:] {
		if last := &out[len(out)-1]; s.At-last.At-last.Len < least {
			last.Len = s.At + s.Len - last.At
		} else {
			out = append(out, s)
		}
	}
	return out
}
