// Package codec unpacks compressed streams, whose kind it tells by their first bytes, and
// packs some.
//
// It is linked into vserver-image alone: the streams are strangers' and the decoders
// large, so they run in a process of their own, as nobody, and the vserver command
// neither trusts them nor spends the time to set them up.
package codec

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// ErrUnknown says that a stream is of no kind that is known.
var ErrUnknown = errors.New("unknown compression")

// maxWindow is the most memory in bytes that a zstd stream may ask for: what `zstd
// --ultra -22 --long=27` makes.
const maxWindow = 128 << 20

// Reader gives the unpacked stream. A tar archive that is not compressed is passed on
// as it is.
func Reader(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head, err := b.Peek(tarMagicAt + len(tarMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case len(head) == 0:
		return nil, fmt.Errorf("empty: %w", ErrUnknown)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), bytes.HasPrefix(head, []byte{0x50, 0x2a, 0x4d, 0x18}):
		return zstd.NewReader(b, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return xz.NewReader(b)
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzip2.NewReader(b), nil
	case IsTar(head):
		return b, nil
	}
	return nil, fmt.Errorf("stream begins with % x: %w", head[:min(len(head), 6)], ErrUnknown)
}

// Writer packs what is written to it for w, by kind: "zstd" or "gzip", at the level of
// their tools (zstd 1 to 19, gzip 1 to 9), their usual one for 0. Close ends the stream.
func Writer(w io.Writer, kind string, level int) (io.WriteCloser, error) {
	switch kind {
	case "zstd":
		// Two at once, matches of one block and entropy of the last, are all that a stream
		// can use; the zstd tool reads and writes beside its work too.
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstdLevel(level)), zstd.WithEncoderConcurrency(2))
	case "gzip":
		if level == 0 {
			level = gzip.DefaultCompression
		}
		return gzip.NewWriterLevel(w, level)
	}
	return nil, fmt.Errorf("%.20q: %w", kind, ErrUnknown)
}

// zstdLevel is what the library has for a level of the tool's.
func zstdLevel(level int) zstd.EncoderLevel {
	if level == 0 {
		return zstd.SpeedDefault
	}
	return zstd.EncoderLevelFromZstd(level)
}

// A tar archive is known by the word ustar at this offset of its first header.
const (
	tarMagicAt = 257
	tarMagic   = "ustar"
)

// IsTar tells whether a stream that begins with head is a tar archive as it is.
func IsTar(head []byte) bool {
	return len(head) >= tarMagicAt+len(tarMagic) && string(head[tarMagicAt:tarMagicAt+len(tarMagic)]) == tarMagic
}
