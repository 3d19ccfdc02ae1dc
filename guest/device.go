package guest

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Access is what may be done with a device: bits as the kernel's device programs have
// them (BPF_DEVCG_ACC_*).
type Access uint8

// The kinds of access.
const (
	MayMknod Access = 1 << iota
	MayRead
	MayWrite
)

// AnyMinor stands for all minor numbers of a device's major one.
const AnyMinor = -1

// Device is a device that a guest may use: "/dev/fuse rw" for a node of the host's,
// "c 10:200 rwm" for numbers, of which the minor may be *. Left out, the access is rw;
// m lets the guest make nodes of it.
type Device struct {
	Path         string // "" when it is said by numbers
	Block        bool
	Major, Minor int // of one without a path
	Access       Access
}

// UnmarshalText reads what is written above.
func (d *Device) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	wrong := func(why string) error { return fmt.Errorf("device %q: %s: %w", text, why, ErrInvalid) }
	if len(words) == 0 {
		return wrong(`want a path and what may be done, as "/dev/fuse rw"`)
	}
	out := Device{Access: MayRead | MayWrite}
	rest := words[1:]
	switch kind := words[0]; {
	case strings.HasPrefix(kind, "/dev/"):
		if path.Clean(kind) != kind || !word(strings.ReplaceAll(kind[1:], "/", "_"), "._:@+,-") {
			return wrong("want a plain path below /dev")
		}
		out.Path = kind
	case kind == "c" || kind == "b":
		if len(rest) == 0 || !out.numbers(rest[0]) {
			return wrong(`want numbers, as "c 10:200 rw" or "c 136:* rw"`)
		}
		out.Block, rest = kind == "b", rest[1:]
	default:
		return wrong(`want a path below /dev, or c or b and numbers`)
	}
	if len(rest) > 1 || len(rest) == 1 && !out.access(rest[0]) {
		return wrong("want one word of r, w and m")
	}
	*d = out
	return nil
}

func (d *Device) numbers(s string) bool {
	major, minor, ok := strings.Cut(s, ":")
	a, err1 := strconv.ParseUint(major, 10, 12) // MINORBITS of linux/kdev_t.h is 20 of 32
	b, err2 := strconv.ParseUint(minor, 10, 20)
	d.Major, d.Minor = int(a), int(b)
	if minor == "*" {
		d.Minor, err2 = AnyMinor, nil
	}
	return ok && err1 == nil && err2 == nil && a > 0
}

func (d *Device) access(s string) bool {
	d.Access = 0
	for _, c := range s {
		bit := Access(0)
		switch c {
		case 'r':
			bit = MayRead
		case 'w':
			bit = MayWrite
		case 'm':
			bit = MayMknod
		}
		if bit == 0 || d.Access&bit != 0 {
			return false
		}
		d.Access |= bit
	}
	return d.Access != 0
}

// MarshalText gives the text that UnmarshalText reads.
func (d Device) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String gives the same.
func (d Device) String() string {
	s := d.Path
	if s == "" {
		minor := "*"
		if d.Minor != AnyMinor {
			minor = strconv.Itoa(d.Minor)
		}
		s = fmt.Sprintf("%c %d:%s", d.Kind(), d.Major, minor)
	}
	return s + " " + d.Access.String()
}

// Kind is the letter of the device's kind: 'b' or 'c'.
func (d Device) Kind() byte {
	if d.Block {
		return 'b'
	}
	return 'c'
}

// String gives the letters.
func (a Access) String() (s string) {
	for i, c := range "rwm" {
		if a&[...]Access{MayRead, MayWrite, MayMknod}[i] != 0 {
			s += string(c)
		}
	}
	return s
}

// Machine tells whether a character device is the machine itself: with its memory or
// its ports a guest has the host.
func Machine(block bool, major, minor int) bool {
	return !block && major == 1 && (minor == AnyMinor || slices.Contains([]int{1, 2, 4}, minor)) // mem, kmem, port
}

// device checks one of rights.devices.
func (v *validator) device(at string, d Device) {
	switch {
	case d.Path == "" && Machine(d.Block, d.Major, d.Minor):
		v.bad(at, "%s: is the machine's memory and ports: with it a guest has the host", d)
	case slices.Contains([]string{"/dev/mem", "/dev/kmem", "/dev/port"}, d.Path):
		v.bad(at, "%s: is the machine itself: with it a guest has the host", d.Path)
	}
	for _, own := range []string{"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/ptmx", "/dev/console", "/dev/tty", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr"} {
		if d.Path == own || strings.HasPrefix(d.Path, own+"/") {
			v.bad(at, "%s: is the guest's own already", d.Path)
			return
		}
	}
}
