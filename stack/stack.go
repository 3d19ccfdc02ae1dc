// Package stack keeps what lies between a guest's own files and its images: layers that
// were a guest's own files once and change no more. A snapshot puts one there, and a
// clone stands upon its original's.
//
//	DATA/layers/ID/           upper, shared/DIR/upper (or root): as a guest's own files
//	DATA/layers/.making-ID    the mark of one that is being made
//	DATA/guests/NAME/layers   the layers of a guest, topmost first: "ID BASE" a line
//	DATA/guests/NAME/snapshots/SNAPSHOT
//
// BASE is the host id of guest id 0 in the files of the layer; 0 in one that was imported.
// A layer belongs to nobody: it stays while a guest or a snapshot lists it. It gets its
// name, and its place in a guest's list, by one exchange of two directories (Exchange), so
// that who is killed has done it or not.
package stack

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
)

// Deepest is how many layers, its images not counted, a guest gets here before the oldest
// become one: each is one more place in which to look for what is not there.
const Deepest = 10

// Most is how many layers a guest may lie on that came with them: kernels before 6.7 take
// the names of all of them and of its images in one option of at most 255 bytes, which are
// a hundred names.
const Most = 64

// Layer is one layer in a guest's list.
type Layer struct {
	ID   string
	Base uint32 // host id of guest id 0 in its files
}

// Text is the layer as a line of a list.
func (l Layer) Text() string { return l.ID + " " + strconv.FormatUint(uint64(l.Base), 10) }

// ParseLayer reads such a line.
func ParseLayer(line string) (Layer, error) {
	id, text, _ := strings.Cut(line, " ")
	base, err := strconv.ParseUint(text, 10, 32)
	if err != nil || !isID(id) {
		return Layer{}, fmt.Errorf("layer %q: %w", line, guest.ErrInvalid)
	}
	return Layer{id, uint32(base)}, nil
}

// idBytes is the random part of a layer's name.
const idBytes = 8

// NewID gives the name of a new layer.
func NewID() string {
	b := make([]byte, idBytes)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func isID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == idBytes
}

// Dir is the directory of a layer.
func (l Layer) Dir(d guest.Dirs) string { return filepath.Join(d.Layers(), l.ID) }

// Read gives the layers of the guest whose own files are at dir, topmost first; none when
// it has none.
func Read(dir string) (out []Layer, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "layers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for line := range strings.Lines(string(text)) {
		l, lerr := ParseLayer(strings.TrimSuffix(line, "\n"))
		if lerr != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "layers"), lerr)
		}
		out = append(out, l)
	}
	return out, err
}

// Text is a guest's list of layers as its file has it.
func Text(layers []Layer) []byte {
	var b strings.Builder
	for _, l := range layers {
		b.WriteString(l.Text() + "\n")
	}
	return []byte(b.String())
}

// Write gives the guest whose own files are being made at dir its layers. Its maker waits
// until what is in dir is on the disk (file.Land), before it counts.
func Write(dir string, layers []Layer) error {
	return begin(filepath.Join(dir, "layers"), Text(layers), file.Flush)
}

// keep writes a small file that is on the disk before the directory that it is in can be
// renamed there.
func keep(path string, text []byte) error { return begin(path, text, file.Settle) }

// begin writes a small file, and has it go to the disk.
func begin(path string, text []byte, settle func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //house:allow beside the guest's files, out of its reach
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = settle(f)
	}
	return errors.Join(err, f.Close())
}
