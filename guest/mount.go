package guest

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Mount is something that a guest finds below its root beside its own files. It is
// written as a line of fstab(5) whose last fields may be left out:
//
//	SOURCE TARGET [TYPE [OPTIONS]]
//
// A source that is a path is a directory or file of the host's, one that is a bare
// name a volume; another type is mounted by the host, from a block device. Blanks in a
// path are written \040.
type Mount struct {
	Source  string
	Target  string
	Type    string // bind, volume, tmpfs, or the kernel's name of a file system
	Options string // those of mount(8), separated by commas; what is none of them is the file system's
}

// The types of mounts that are not the name of a file system on a device.
const (
	MountBind   = "bind"
	MountVolume = "volume"
	MountTmpfs  = "tmpfs"
)

// ParseMount reads a line as Mount tells it.
func ParseMount(line string) (m Mount, err error) {
	fields := strings.Fields(line)
	if len(fields) > 4 && slices.Contains([]string{"0", "1", "2"}, fields[4]) {
		fields = slices.Delete(fields, 4, min(len(fields), 6)) // dump and pass of fstab(5)
	}
	if len(fields) < 2 || len(fields) > 4 {
		return m, fmt.Errorf("%q: want SOURCE TARGET [TYPE [OPTIONS]], as /srv/data /data bind ro: %w", line, ErrInvalid)
	}
	for i, f := range fields {
		fields[i] = unescapeField(f)
	}
	m.Source, m.Target = fields[0], fields[1]
	if len(fields) > 2 && fields[2] != "none" {
		m.Type = fields[2]
	}
	if len(fields) > 3 && fields[3] != "defaults" {
		m.Options = fields[3]
	}
	if m.Type != "" {
		return m, nil
	}
	switch {
	case strings.HasPrefix(m.Source, "/"):
		m.Type = MountBind
	case m.Source == MountTmpfs:
		m.Type = MountTmpfs
	default:
		m.Type = MountVolume
	}
	return m, nil
}

// Items cuts a list of mounts with commas between them. Those within a mount's options do
// not count: the second field of a mount is a path from the root.
func (Mount) Items(list string) (items []string) {
	for part := range strings.SplitSeq(list, ",") {
		fields, last := strings.Fields(part), len(items)-1
		begins := len(fields) > 1 && strings.HasPrefix(fields[1], "/")
		if !begins && last >= 0 && len(strings.Fields(items[last])) > 3 {
			items[last] += "," + strings.TrimSpace(part)
			continue
		}
		items = append(items, part)
	}
	return items
}

// The blanks that a field of fstab(5) cannot hold as they are.
var fieldEscapes = [][2]string{{`\`, `\134`}, {" ", `\040`}, {"\t", `\011`}, {"\n", `\012`}}

func unescapeField(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	for _, e := range slices.Backward(fieldEscapes) {
		s = strings.ReplaceAll(s, e[1], e[0])
	}
	return s
}

// UnmarshalText reads a mount as ParseMount does.
func (m *Mount) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMount(string(text))
	return err
}

// String writes the mount as ParseMount reads it.
func (m Mount) String() string {
	fields := []string{m.Source, m.Target, m.Type}
	if m.Options != "" {
		fields = append(fields, m.Options)
	}
	for i := range fields {
		for _, e := range fieldEscapes {
			fields[i] = strings.ReplaceAll(fields[i], e[0], e[1])
		}
	}
	return strings.Join(fields, " ")
}

// MarshalText writes the mount as String does.
func (m Mount) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Has tells whether an option is among the mount's.
func (m Mount) Has(option string) bool { return slices.Contains(m.options(), option) }

func (m Mount) options() []string {
	return strings.FieldsFunc(m.Options, func(r rune) bool { return r == ',' })
}

// Made are the options by which the file system is made: those that MountOptions does
// not have.
func (m Mount) Made() (out []string) {
	for _, o := range m.options() {
		if !slices.Contains(MountOptions(), o) && !strings.HasPrefix(o, idPair) {
			out = append(out, o)
		}
	}
	return out
}

// Mapped tells whether the ids of the files are the guest's as they are: the guest's
// root owns what belongs to 0 on the disk. A volume is so unless it says another.
func (m Mount) Mapped() bool {
	return m.Has("idmap") || m.Type == MountVolume && !strings.Contains(m.Options, idPair)
}

// idPair begins an option that gives one id on the disk to one of the guest's.
const idPair = "idmap="

// IDPair is an id of users and groups on the disk, and the one that the guest knows it by.
type IDPair struct{ Disk, Guest uint32 }

// Pairs are the ids that a mount shows alone, by options idmap=DISK:GUEST; all others are
// nobody's. None are for a mount without such options.
func (m Mount) Pairs() (out []IDPair, err error) {
	for _, o := range m.options() {
		words, is := strings.CutPrefix(o, idPair)
		if !is {
			continue
		}
		disk, inside, _ := strings.Cut(words, ":")
		from, derr := strconv.ParseUint(disk, 10, 32)
		to, gerr := strconv.ParseUint(inside, 10, 32)
		if derr != nil || gerr != nil || from == math.MaxUint32 || to >= IDs {
			return nil, fmt.Errorf("option %s: want idmap=DISK:GUEST, an id on the disk and one of the guest's below %d", o, IDs)
		}
		for _, p := range out {
			if p.Disk == uint32(from) || p.Guest == uint32(to) {
				return nil, fmt.Errorf("option %s: one of the two has another already", o)
			}
		}
		out = append(out, IDPair{uint32(from), uint32(to)})
	}
	if len(out) > 0 && m.Has("idmap") {
		return nil, errors.New("options idmap and idmap=DISK:GUEST: want one of them")
	}
	return out, nil
}

// MountOptions are the options that say how a file system is shown, and not how it is
// made. Those that name the default change nothing.
func MountOptions() []string {
	return []string{"ro", "rw", "nosuid", "suid", "nodev", "noexec", "exec", "noatime", "bind", "rbind", "idmap", "nofail", "defaults", "auto"}
}

func (v *validator) mounts(s *Spec) {
	each(v, "mounts", s.Mounts, func(at string, m Mount) {
		v.mount(at, m)
		pairs, err := m.Pairs()
		if err != nil {
			v.bad(at, "%v", err)
		}
		if (m.Mapped() || pairs != nil) && s.Userns == UsernsNone {
			v.bad(at, "%s: a guest without a user namespace has the host's ids", m.Source)
		}
	})
}

func (v *validator) mount(at string, m Mount) {
	own := []string{"/", "/proc", "/sys", "/dev", "/dev/pts", "/run"}
	switch {
	case !path.IsAbs(m.Target) || path.Clean(m.Target) != m.Target:
		v.bad(at, "%q: want a plain absolute path in the guest", m.Target)
	case slices.Contains(own, m.Target), strings.HasPrefix(m.Target, "/proc/"), strings.HasPrefix(m.Target, "/sys/"):
		v.bad(at, "%s: is the guest's own and cannot be covered", m.Target)
	}
	switch {
	case m.Has("dev"):
		v.bad(at, "dev: devices come by rights.devices")
	case m.Type == MountVolume:
		if _, err := ParseName(m.Source); err != nil {
			v.bad(at, "%q: want the name of a volume, or an absolute path", m.Source)
		}
	case m.Type == MountTmpfs:
		if pairs, _ := m.Pairs(); m.Mapped() || pairs != nil {
			v.bad(at, "idmap: a tmpfs is the guest's own")
		}
	default:
		v.isAbsolute(at, m.Source)
	}
	if m.Type != MountBind && m.Type != MountVolume {
		return
	}
	for _, o := range m.Made() {
		if near := Nearest(o, MountOptions()); near != "" {
			v.bad(at, "option %q: did you mean %s?", o, near)
		} else {
			v.bad(at, "option %q: want some of %s", o, strings.Join(MountOptions(), ", "))
		}
	}
}
