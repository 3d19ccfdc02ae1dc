package guest

import "slices"

// personalities are the execution domains and their flags (sys/personality.h) that change
// what a program sees, and none that opens what the kernel has closed.
var personalities = []struct {
	name string
	bits uint32
}{
	{"linux", 0},
	{"linux32", 0x8},
	{"uname26", 0x0020000},
	{"addr_no_randomize", 0x0040000},
	{"addr_compat_layout", 0x0200000},
	{"addr_limit_32bit", 0x0800000},
	{"short_inode", 0x1000000},
	{"whole_seconds", 0x2000000},
	{"sticky_timeouts", 0x4000000},
	{"addr_limit_3gb", 0x8000000},
}

// Personalities are the words of rights.personality.
func Personalities() (names []string) {
	for _, p := range personalities {
		names = append(names, p.name)
	}
	return names
}

// ParsePersonality gives what personality(2) takes for words of rights.personality; 0 is
// the kernel's own. The error is ErrInvalid.
func ParsePersonality(words []string) (n uint32, err error) {
	for _, w := range words {
		i := slices.Index(Personalities(), w)
		if i < 0 {
			return 0, WantOneOf(w, Personalities())
		}
		n |= personalities[i].bits
	}
	return n, nil
}
