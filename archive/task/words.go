package task

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
)

// The two share a file: 8 bytes in the machine's order, which are what was read of the packed
// stream so far, below 0 when nobody tells; then the Task.
const counted = 8

// Text is such a file, in which nobody has told anything.
func (t Task) Text() ([]byte, error) {
	text, err := json.Marshal(t)
	return append(count(-1), text...), err
}

// Tell writes how much of the packed stream was read.
func Tell(f *os.File, packed int64) error {
	_, err := f.WriteAt(count(packed), 0)
	return err
}

func count(n int64) []byte { return binary.NativeEndian.AppendUint64(nil, uint64(n)) }

// Read gives the Task of such a file, and what was told last whenever it is asked; nil when
// nobody tells.
func Read(f *os.File) (t Task, packed func() int64, err error) {
	packed = func() int64 {
		var n [counted]byte
		f.ReadAt(n[:], 0)
		return int64(binary.NativeEndian.Uint64(n[:]))
	}
	if packed() < 0 {
		packed = nil
	}
	err = json.NewDecoder(io.NewSectionReader(f, counted, Most)).Decode(&t)
	return t, packed, err
}
