// Package parcel is guests on their way: written as one stream, and made of it on the same
// host or another one.
package parcel

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"vserver/archive"
	"vserver/fault"
	"vserver/guest"
	"vserver/pool"
	"vserver/stack"
)

// A parcel is a guest as one stream, packed by zstd: tar archives behind each other,
//
//	vserver.json   the Label: what follows, and the guest's settings
//	a tree each    those of the images that are sent, of the layers (the lowest first), and
//	               the guest's own, in the order of the Label; ids are the guest's, from 0
//	vserver.sum    SHA-256 of all that precedes, in hexadecimal digits
//
// so that `zstd -dc FILE | tar --ignore-zeros -tv` shows what is in it.
const (
	labelName = "vserver.json"
	sumName   = "vserver.sum"
	// version is that of what is written here. Others are refused.
	version = 1
)

// Label is the first that a parcel has.
type Label struct {
	Version int        `json:"vserver"`
	Guest   guest.Name `json:"guest"`
	Made    time.Time  `json:"made"`
	Running bool       `json:"running"` // while it was taken
	Spec    string     `json:"spec"`
	Images  []Image    `json:"images"`
	// Layers are those that the guest lies on, by their ids on the host that they come from,
	// topmost first.
	Layers []string `json:"layers"`
	// Since, when not nil, is what the receiver has.
	Since *Since `json:"since,omitempty"`
	// Own says that the guest's own files come last. Without it they are the layer on top.
	Own bool `json:"own"`
	// Snapshots are those of the guest that are there with these layers.
	Snapshots []stack.Snapshot `json:"snapshots,omitempty"`
}

// Since is the snapshot that a parcel brings the changes to. The lowest Common layers of the
// snapshot's and the guest's are the same, and are not sent. If the snapshot has others
// above, the lowest tree that is sent is what there is to do to the lowest of these.
type Since struct {
	Name   string   `json:"name"`
	ID     string   `json:"id"`
	Layers []string `json:"layers"` // topmost first
	Common int      `json:"common"`
}

// sent is how many of the guest's layers are sent, those on top.
func (l Label) sent() int {
	if l.Since == nil {
		return len(l.Layers)
	}
	return len(l.Layers) - l.Since.Common
}

// under is the layer of the snapshot, counted from the top, that the lowest tree changes; -1
// for none.
func (s *Since) under() int {
	if s == nil {
		return -1
	}
	return len(s.Layers) - s.Common - 1
}

// Image is an image that the guest lies over. It is the same as one of another
// host's when the digests are equal.
type Image struct {
	Name string    `json:"name"`
	Meta pool.Meta `json:"meta"`
	Sent bool      `json:"sent"`
}

// ErrForeign says that a stream is no guest's, or was cut or changed on its way.
var ErrForeign = errors.New("is not what `vserver export` wrote")

// maxLabel bounds the Label in bytes: a thousand snapshots with their settings.
const maxLabel = 4 << 20

// putFile writes an archive of one small file.
func putFile(w io.Writer, name string, text []byte) error {
	t := tar.NewWriter(w)
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(text))}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if _, err := t.Write(text); err != nil {
		return err
	}
	return t.Close()
}

// takeFile reads one.
func takeFile(r io.Reader, name string) ([]byte, error) {
	t := tar.NewReader(r)
	h, err := t.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the stream %w: %w", ErrForeign, err)
	}
	if err != nil || h.Name != name || h.Typeflag != tar.TypeReg || h.Size > maxLabel {
		return nil, fmt.Errorf("the stream %w", ErrForeign)
	}
	text, err := io.ReadAll(t)
	if err == nil {
		_, err = t.Next()
	}
	if err == nil {
		err = errors.New("a second file")
	}
	if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the stream %w: %s: %w", ErrForeign, name, err)
	}
	return text, nil
}

// skip passes over an archive.
func skip(ctx context.Context, r io.Reader) error {
	for t := tar.NewReader(r); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
}

// readLabel reads the Label and refuses what no export writes.
func readLabel(r io.Reader) (l Label, err error) {
	text, err := takeFile(r, labelName)
	if err != nil {
		return l, fault.Hint(err, "vserver build NAME --template FILE takes any other archive of a root")
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return l, fmt.Errorf("%s: %w: %w", labelName, err, ErrForeign)
	}
	if l.Version != version {
		return l, fault.Hint(fmt.Errorf("%s: version %d of the format, where %d is known", labelName, l.Version, version),
			"`vserver version` here and where it was written")
	}
	return l, l.check()
}

func isID(word string) bool {
	_, err := stack.ParseLayer(word + " 0")
	return err == nil
}

func isDigest(word string) bool {
	digits, ok := strings.CutPrefix(word, "sha256:")
	b, err := hex.DecodeString(digits)
	return ok && err == nil && len(b) == sha256.Size
}

func (l Label) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %s: %w", labelName, fmt.Sprintf(format, args...), ErrForeign)
	}
	if len(l.Layers) > stack.Most {
		return bad("%d layers", len(l.Layers))
	}
	known := map[string]bool{}
	for _, id := range l.Layers {
		if !isID(id) || known[id] {
			return bad("layer %.20q", id)
		}
		known[id] = true
	}
	if s := l.Since; s != nil {
		if !isID(s.ID) || stack.CheckName(s.Name) != nil || s.Common < 0 || s.Common > min(len(s.Layers), len(l.Layers)) || len(s.Layers) > stack.Most ||
			!slices.Equal(s.Layers[len(s.Layers)-s.Common:], l.Layers[len(l.Layers)-s.Common:]) {
			return bad("since %.70q", s.Name)
		}
	}
	for _, im := range l.Images {
		if pool.CheckName(im.Name) != nil || !isDigest(im.Meta.Digest) {
			return bad("image %.200q", im.Name)
		}
		m := im.Meta
		for _, word := range []string{m.Method, m.Source, m.Guest, m.Distribution, m.Release, m.Arch, m.Origin} {
			if strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }) { // a terminal will have it
				return bad("image %s: %.200q", im.Name, word)
			}
		}
	}
	for _, s := range l.Snapshots {
		layers, err := s.Layers()
		if err != nil || stack.CheckName(s.Name) != nil || !isID(s.ID) {
			return bad("snapshot %.70q", s.Name)
		}
		for _, at := range layers {
			if !known[at.ID] {
				return bad("snapshot %s: layer %s", s.Name, at.ID)
			}
		}
	}
	return nil
}

// sealed compares the sum that a stream ends with with that of what was taken of it.
func sealed(in io.Reader, sum hash.Hash) error {
	want := hex.EncodeToString(sum.Sum(nil))
	got, err := takeFile(in, sumName)
	if err == nil && string(got) != want {
		err = fmt.Errorf("the stream's sum is %s, not %.64q: %w", want, got, ErrForeign)
	}
	if err != nil {
		return err
	}
	if n, err := io.CopyN(io.Discard, in, 1); n > 0 {
		return fmt.Errorf("archive: data behind its end: %w", archive.ErrHostile)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// limits are what a guest may unfold to: more than an image, whose content nobody has
// written to for years. What it takes of the disk is bounded by its packed size.
func limits() archive.Limits {
	l := archive.Default()
	l.Bytes, l.Entries, l.Depth = 16<<40, 32_000_000, 2048
	return l
}
