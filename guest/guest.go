// Package guest is the vocabulary of the system: what a guest is called, what can
// be asked for it, what can be said of it. It does no I/O and imports nothing of
// ours; every other package speaks in its words.
//
//house:allow the words of all concepts: a file for each, and no code but their checks
package guest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// The ways in which asking for something can fail, whatever was asked. They are
// matched with errors.Is; cli maps them to exit codes.
var (
	ErrNotFound    = errors.New("no such guest")
	ErrExists      = errors.New("exists already")
	ErrRunning     = errors.New("is running")
	ErrStopped     = errors.New("is not running")
	ErrInvalid     = errors.New("invalid")
	ErrBusy        = errors.New("busy")
	ErrUnsupported = errors.New("not supported by this kernel")
)

// NoSuch is ErrNotFound of something else than a guest.
func NoSuch(what string) error { return noSuch(what) }

type noSuch string

// Error says that there is none.
func (what noSuch) Error() string { return "no such " + string(what) }

// Is makes it ErrNotFound.
func (noSuch) Is(target error) bool { return target == ErrNotFound }

// Name is what a guest is called. It is a file name, a host name and a word on the
// command line at once: letters, digits, '.', '_' and '-', first a letter or digit,
// at most 63 bytes (RFC 1123 for a label), and no verb of the vserver command.
type Name string

// ParseName checks a name.
func ParseName(s string) (Name, error) {
	switch {
	case !wellFormed(s):
		return "", fmt.Errorf("name %q: want 1 to 63 letters, digits, '.', '_', '-', beginning with a letter or digit: %w", s, ErrInvalid)
	case slices.Contains(Verbs, s):
		return "", fmt.Errorf("name %q: is a verb of the vserver command: %w", s, ErrInvalid)
	}
	return Name(s), nil
}

// wellFormed says whether s is made of a name's letters. It is no regular expression,
// because that would be compiled in every start of the program (0.2 ms).
func wellFormed(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return len(s) > 0 && len(s) <= 63
}

// UnmarshalText checks and takes a name.
func (n *Name) UnmarshalText(b []byte) (err error) {
	*n, err = ParseName(string(b))
	return err
}

// Verbs are the words that no guest may be called, because `vserver WORD ...` and
// `vserver ... WORD` would be ambiguous. cli tests them against its command table.
var Verbs = []string{
	"apt-cache", "apt-config", "apt-get", "build", "chbind", "chcontext", "check", "chkconfig", "clone", "commit", "completion", "condrestart", "config", "console", "copy", "cp", "create",
	"delete", "diff", "dnf", "dpkg", "edit", "enter", "events", "exec", "export", "hashify", "help", "image", "import", "info", "kill", "list", "logs", "man", "migrate", "mount",
	"naddress", "nattribute", "ncontext", "net", "pkg", "pool", "ps", "pull", "push", "quota", "rebase", "rename", "restart", "rollback", "rpm", "running", "set", "snapshot", "start", "start-vservers", "stat", "status", "stop",
	"suexec", "top", "umount", "unhashify", "unify", "vcontext", "vdu", "version", "volume", "wait", "yum",
}

// XID is a guest's number: 2 to 49151 as in Linux-VServer. 0 is the host and 1 was
// the spectator context; both stay free.
type XID uint32

// The range of numbers, and where automatic ones start: xid 8 has ids from 524288,
// the first range that systemd reserves for containers.
const (
	MinXID  XID = 2
	AutoXID XID = 8
	MaxXID  XID = 49151
)

// DynamicXID and LastXID begin and end the numbers that are chosen for contexts without a
// guest, as in Linux-VServer.
const (
	DynamicXID XID = 49152
	LastXID    XID = 65535
)

// IDs is the number of user ids (and group ids) of a guest.
const IDs = 65536

// MaxIDBase is the highest id base that is given out: ids of 2^31 and more break
// too many tools, and systemd ends its container range at 1878982656.
const MaxIDBase = 1878982656

// UnmarshalText checks and takes a number.
func (x *XID) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 32)
	if err != nil || XID(n) < MinXID || XID(n) > MaxXID {
		return fmt.Errorf("xid %q: want a number from %d to %d: %w", b, MinXID, MaxXID, ErrInvalid)
	}
	*x = XID(n)
	return nil
}

// IDBase is the host id of the guest's root when the spec does not say otherwise:
// guest id u is host id IDBase+u.
func (x XID) IDBase() uint32 { return uint32(x) << 16 }
