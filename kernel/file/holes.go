package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Segment is a part of a file that has content; what lies between segments are holes.
type Segment struct{ At, Len int64 }

// Segments gives the parts of a file's first size bytes that are no holes, at most max of
// them: of a file with more the last one takes in the rest. Where the file system knows no
// holes it is one.
func Segments(f *os.File, size int64, max int) (out []Segment, err error) {
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
		if to = min(to, size); len(out) == max-1 {
			to = size
		}
		if from < to {
			out = append(out, Segment{from, to - from})
		}
		at = to
	}
	return out, nil
}
