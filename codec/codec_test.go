package codec

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"vserver/internal/need"
)

func packed(t *testing.T, program string, text []byte) []byte {
	t.Helper()
	c := exec.Command(need.Command(t, program), "-c")
	c.Stdin = bytes.NewReader(text)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReader(t *testing.T) {
	text := []byte(strings.Repeat("all work and no play ", 10000))
	for _, program := range []string{"gzip", "xz", "zstd", "bzip2"} {
		t.Run(program, func(t *testing.T) {
			p := packed(t, program, text)
			for what, stream := range map[string][]byte{"one": p, "two in a row": append(bytes.Clone(p), p...)} {
				r, err := Reader(bytes.NewReader(stream))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, bytes.Repeat(text, len(stream)/len(p))) {
					t.Errorf("%s: %d bytes, %v", what, len(got), err)
				}
			}
			for _, cut := range []int{len(p) - 1, len(p) / 2, 7} {
				r, err := Reader(bytes.NewReader(p[:cut]))
				if err == nil {
					_, err = io.ReadAll(r)
				}
				if err == nil {
					t.Errorf("cut at %d: no error", cut)
				}
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	for _, text := range []string{"", "x", "PK\x03\x04", strings.Repeat("\x00", 1024), "7z\xbc\xaf\x27\x1c"} {
		if _, err := Reader(strings.NewReader(text)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
	tar := make([]byte, 512)
	copy(tar[tarMagicAt:], tarMagic)
	if r, err := Reader(bytes.NewReader(tar)); err != nil {
		t.Error(err)
	} else if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, tar) {
		t.Errorf("tar: %d bytes, %v", len(got), err)
	}
}

// TestWindow refuses a zstd stream that asks for more memory than any tool's.
func TestWindow(t *testing.T) {
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00} // window of 2^41 bytes
	r, err := Reader(bytes.NewReader(frame))
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if err == nil {
		t.Error("was taken")
	}
}

func FuzzReader(f *testing.F) {
	for _, head := range []string{"\x1f\x8b\x08", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00", "BZh9", "\x50\x2a\x4d\x18"} {
		f.Add([]byte(head + "some more bytes that mean nothing"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := Reader(bytes.NewReader(data)); err == nil {
			io.Copy(io.Discard, io.LimitReader(r, 8<<20))
		}
	})
}
