package quota

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// What a caller of the kernel's writes is read with its units, and what is written is
// what it would read.
func TestBlock(t *testing.T) {
	r := Record{ID: 33, Limits: Limits{Space: 2048, SoftSpace: 1024, Inodes: 7, SoftInodes: 5}, UsedSpace: 999, UsedInodes: 3}
	b := r.Bytes(false)
	if len(b) != BlockSize || binary.NativeEndian.Uint32(b[68:]) != 0 || binary.NativeEndian.Uint32(r.Bytes(true)[68:]) != 33 {
		t.Fatalf("% x", b)
	}
	if _, _, err := ParseLimits(b); !errors.Is(err, unix.EPERM) { // it has what is used, too
		t.Errorf("all: %v", err)
	}
	for valid, want := range map[uint32][2]bool{0: {}, 1: {true, false}, 4: {false, true}, 5: {true, true}} {
		binary.NativeEndian.PutUint32(b[64:], valid)
		space, inodes, err := ParseLimits(b)
		if err != nil || (space != nil) != want[0] || (inodes != nil) != want[1] {
			t.Fatalf("%d: %v %v %v", valid, space, inodes, err)
		}
		if space != nil && *space != [2]uint64{1024, 2048} || inodes != nil && *inodes != [2]uint64{5, 7} {
			t.Errorf("%d: %v %v", valid, space, inodes)
		}
	}
	if _, _, err := ParseLimits(b[:9]); err == nil {
		t.Error("a short block is taken")
	}
}
