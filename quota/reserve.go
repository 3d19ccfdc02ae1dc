package quota

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
)

// Room is the space of a file system.
type Room struct {
	Total, Free guest.Bytes // Free is what users other than root can have
}

// RoomOf tells the space of the file system at path.
func RoomOf(path string) (Room, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return Room{}, fmt.Errorf("statfs %s: %w", path, err)
	}
	of := func(blocks uint64) guest.Bytes {
		over, n := bits.Mul64(blocks, uint64(st.Bsize))
		if over > 0 {
			n = 1<<63 - 1
		}
		return size(n)
	}
	return Room{Total: of(st.Blocks), Free: of(st.Bavail)}, nil
}

// ParseReserve reads what an administrator wants to be kept free of guests: a size, or a
// part of the whole as "10%".
func ParseReserve(text string, total guest.Bytes) (guest.Bytes, error) {
	text = strings.TrimSpace(text)
	if part, ok := strings.CutSuffix(text, "%"); ok {
		f, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(f >= 0 && f <= 100) {
			return 0, fmt.Errorf("reserve %q: want a size, or a part of the disk as 10%%: %w", text, guest.ErrInvalid)
		}
		return guest.Bytes(float64(total) * f / 100), nil
	}
	var b guest.Bytes
	if err := b.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("reserve %q: want a size, or a part of the disk as 10%%: %w", text, guest.ErrInvalid)
	}
	return b, nil
}

// Claim is what a guest may still take of the disk.
type Claim struct {
	Name  guest.Name
	Limit guest.Bytes // 0: none
	Used  guest.Bytes
}

// Fits refuses a guest whose limit, together with those of the guests that run, reaches
// into the reserve. All of them must have limits. Because each of them is held by the file
// system, and what they may still take is there when they start, guests alone can never
// take the reserve, whether anybody watches or not.
func Fits(r Room, reserve guest.Bytes, who Claim, running []Claim) error {
	left := r.Free - reserve
	for _, c := range append([]Claim{who}, running...) {
		if c.Limit == 0 {
			return fault.Hint(fmt.Errorf("guest %s has no limits.disk, and %v of the disk are reserved: %w", c.Name, megabytes(reserve), guest.ErrInvalid),
				"vserver "+string(c.Name)+" set limits.disk=10G")
		}
		left -= max(c.Limit-c.Used, 0)
	}
	if left < 0 {
		return fault.Hint(fmt.Errorf("limits.disk: %v more than the disk has for guests beside its reserve of %v: %w", megabytes(-left), megabytes(reserve), syscall.ENOSPC),
			"lower limits.disk of this guest or of one that runs; see doc/limits.md for the reserve")
	}
	return nil
}

// megabytes rounds up, for reading.
func megabytes(b guest.Bytes) guest.Bytes { return (b + 1<<20 - 1) >> 20 << 20 }
