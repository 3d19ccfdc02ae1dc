package guest

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a spec.
type Problem struct {
	// Path is the key, with the index of a list's item or the key of a map's entry:
	// "network.addresses[1]", "limits.rlimits.nofile".
	Path string
	Err  error
}

// Error gives "path: cause".
func (p Problem) Error() string { return p.Path + ": " + p.Err.Error() }

// Unwrap returns the cause, which is an ErrInvalid.
func (p Problem) Unwrap() error { return p.Err }

// Bounds of text and lists. They keep what is passed on to the kernel and written
// into the guest's files within what these can take.
const (
	MaxHostname = 64   // bytes; __NEW_UTS_LEN
	MaxText     = 4096 // bytes of any text; PATH_MAX
	MaxItems    = 1024 // of a list or map
)

// Range is the least and the greatest value of a setting that is a number; sizes
// count bytes, time spans seconds.
type Range struct{ Min, Max float64 }

// RangeOf gives the range of a setting by its path; false when it is no number. The
// ranges catch slips of the pen (512 instead of 512M), not every unwise wish. Zero
// means the default and is not within them.
func RangeOf(path string) (r Range, ok bool) {
	if strings.HasPrefix(path, "limits.ceilings.") {
		return ceilingRange(path), true
	}
	switch path {
	case "xid":
		return Range{float64(MinXID), float64(MaxXID)}, true
	case "idbase":
		return Range{IDs, MaxIDBase}, true
	case "init.stop_signal":
		return Range{1, 64}, true // _NSIG
	case "init.stop_timeout":
		return Range{0.001, 24 * 3600}, true
	case "limits.memory", "limits.swap":
		return Range{1 << 20, 1 << 53}, true // a guest's init needs more; up to what a float64 holds exactly
	case "limits.cpus":
		return Range{0.01, 8192}, true // cpu.max takes 1 ms of 100 ms; NR_CPUS of the largest kernels
	case "limits.pids":
		return Range{1, 4194304}, true // PID_MAX_LIMIT
	case "limits.disk":
		return Range{1 << 20, 1 << 53}, true // an empty overlay takes some KiB
	case "limits.inodes":
		return Range{16, 1 << 40}, true // an empty overlay has 4
	case "limits.oom_score_adj":
		return Range{-1000, 1000}, true
	case "network.sockets", "network.connections":
		return Range{1, 1 << 30}, true // more than the kernel has files
	case "network.table":
		return Range{1, 1<<31 - 1}, true // FRA_TABLE takes more, but not every tool
	case "network.egress.rate", "network.egress.reserved", "network.ingress.rate":
		return Range{8000, 1e12}, true // a kilobyte a second, less than a packet; the fastest links
	case "network.egress.share":
		return Range{1, 1000}, true
	case "console.log_size":
		return Range{4 << 10, 1 << 30}, true // a page; two logs of that size fit on a tmpfs
	}
	return rangeOfLimit(path)
}

// Validate finds everything that is wrong with a spec in itself: values out of
// range, settings that contradict each other, text that could do harm where it is
// used. Zero values are right: they mean defaults. What can only be known with the
// other guests and the host at hand is checked elsewhere.
func (s *Spec) Validate() []Problem {
	v := &validator{}
	v.identity(s)
	v.root(&s.Root)
	v.rootDir(s)
	v.mounts(s)
	v.init(&s.Init)
	v.network(&s.Network)
	v.hidden(s)
	v.limits(&s.Limits)
	v.ceilings(s)
	v.rights(&s.Rights)
	v.vserverRights(s)
	v.view(s)
	v.console(&s.Console)
	v.boot(&s.Boot)
	oneOf(v, "restart", s.Restart)
	if s.Shell != "" {
		v.absolute("shell", s.Shell)
	}
	for _, h := range s.Hooks.Points() {
		each(v, "hooks."+h.Point, h.Programs, v.absolute)
	}
	return v.problems
}

type validator struct{ problems []Problem }

func (v *validator) bad(path, format string, args ...any) {
	err := fmt.Errorf(format+": %w", append(args, ErrInvalid)...)
	v.problems = append(v.problems, Problem{Path: path, Err: err})
}

func (v *validator) fail(path string, err error) {
	v.problems = append(v.problems, Problem{Path: path, Err: err})
}

// within checks a number, which said is as the user knows it, against its range.
func (v *validator) within(path string, said any, number float64) {
	v.withinAs(path, path, said, number)
}

// withinAs is within for the entry of a map, whose range is that of path.
func (v *validator) withinAs(path, rangeOf string, said any, number float64) {
	r, _ := RangeOf(rangeOf)
	if number == 0 || number >= r.Min && number <= r.Max {
		return
	}
	switch said.(type) {
	case Bytes:
		v.bad(path, "%v: want %v to %v", said, Bytes(r.Min), Bytes(r.Max))
	case Rate:
		v.bad(path, "%v: want %v to %v bits a second", said, Rate(r.Min), Rate(r.Max))
	case Duration:
		v.bad(path, "%v: want %v to %v", said, seconds(r.Min), seconds(r.Max))
	default:
		v.bad(path, "%v: want %v to %v", said, strconv.FormatFloat(r.Min, 'f', -1, 64), strconv.FormatFloat(r.Max, 'f', -1, 64))
	}
}

func seconds(n float64) Duration { return Duration(n * float64(time.Second)) }

func (v *validator) identity(s *Spec) {
	v.within("xid", s.XID, float64(s.XID))
	if s.Hostname != "" && v.text("hostname", s.Hostname) {
		if why := hostnameProblem(s.Hostname, MaxHostname); why != "" {
			v.bad("hostname", "%q: %s", s.Hostname, why)
		}
	}
	oneOf(v, "userns", s.Userns)
	switch {
	case s.IDBase == 0:
	case s.Userns == UsernsNone:
		v.bad("idbase", "has no meaning with userns: none")
	case s.IDBase%IDs != 0:
		v.bad("idbase", "%d: want a multiple of %d, such as %d", s.IDBase, IDs, s.IDBase/IDs*IDs+IDs)
	default:
		v.within("idbase", s.IDBase, float64(s.IDBase))
	}
}

func (v *validator) root(r *Root) {
	oneOf(v, "root.kind", r.Kind)
	each(v, "root.lower", r.Lower, func(at, lower string) {
		if strings.HasPrefix(lower, "/") {
			v.absolute(at, lower)
		} else if !word(lower, "._:@+-") {
			v.bad(at, "%q: want the name of an image, or an absolute path", lower)
		}
	})
	each(v, "root.shared", r.Shared, func(at, dir string) {
		if !v.isAbsolute(at, dir) {
			return
		}
		for _, own := range []string{"/", "/proc", "/sys", "/dev", "/run"} {
			if dir == own || own != "/" && strings.HasPrefix(dir, own+"/") {
				v.bad(at, "%s: is the guest's own and cannot be shared", dir)
			}
		}
	})
	if r.Kind == RootDir && len(r.Lower) > 0 {
		v.bad("root.lower", "has no meaning with kind: dir")
	}
	if r.Kind == RootDir && len(r.Shared) > 0 {
		v.bad("root.shared", "has no meaning with kind: dir, which has no private layer to write to")
	}
}

func (v *validator) init(i *Init) {
	oneOf(v, "init.style", i.Style)
	switch {
	case i.Style == InitCommand && len(i.Command) == 0:
		v.bad("init.command", "style command needs it")
	case i.Command != nil && len(i.Command) == 0:
		v.bad("init.command", "is empty; leave the key out for the default")
	}
	v.user(i)
	v.argv("init.command", i.Command)
	v.argv("init.stop_command", i.StopCommand)
	v.runlevels(i)
	if len(i.Environment) > MaxItems {
		v.bad("init.environment", "%d variables: want at most %d", len(i.Environment), MaxItems)
	}
	for _, name := range sorted(i.Environment) {
		at := "init.environment." + name
		if name == "" || name[0] >= '0' && name[0] <= '9' || !word("x"+name, "._-") {
			v.bad(at, "%q: want a name of letters, digits and '_', not beginning with a digit", name)
		}
		v.text(at, i.Environment[name])
	}
	v.within("init.stop_signal", int(i.StopSignal), float64(i.StopSignal))
	if i.StopSignal != 0 && len(i.StopCommand) > 0 {
		v.bad("init.stop_signal", "contradicts stop_command: give one of them")
	}
	v.within("init.stop_timeout", i.StopTimeout, time.Duration(i.StopTimeout).Seconds())
}

func (v *validator) limits(l *Limits) {
	if l.Memory > 0 && l.Memory <= 1024 {
		v.bad("limits.memory", "%d: is too few bytes; was %dM meant?", int64(l.Memory), int64(l.Memory))
	} else {
		v.within("limits.memory", l.Memory, float64(l.Memory))
	}
	v.within("limits.swap", l.Swap, float64(l.Swap))
	if l.Swap > 0 && l.Memory == 0 {
		v.bad("limits.swap", "has no meaning without limits.memory")
	}
	v.within("limits.cpus", l.CPUs, l.CPUs)
	v.shares(l)
	v.within("limits.pids", l.Pids, float64(l.Pids))
	v.within("limits.disk", l.Disk, float64(l.Disk))
	v.within("limits.inodes", l.Inodes, float64(l.Inodes))
	v.within("limits.oom_score_adj", l.OOMScoreAdj, float64(l.OOMScoreAdj))
	names := Rlimits()
	for _, name := range sorted(l.Rlimits) {
		at := "limits.rlimits." + name
		if r := l.Rlimits[name]; r.Soft > r.Hard {
			v.bad(at, "soft limit above the hard one")
		}
		if slices.Contains(names, name) {
			continue
		}
		if near := Nearest(name, names); near != "" {
			v.bad(at, "no such limit; did you mean %s?", near)
		} else {
			v.bad(at, "no such limit; want one of %s", strings.Join(names, ", "))
		}
	}
}

func (v *validator) rights(r *Rights) {
	for i, w := range r.Bcaps {
		if _, err := Capset(0).Change([]string{w}); err != nil {
			v.fail(index("rights.bcaps", i), err)
		}
	}
	oneOf(v, "rights.seccomp", r.Seccomp)
	each(v, "rights.syscalls", r.Syscalls, func(at, name string) {
		if !word(name, "_-") || strings.ToLower(name) != name && strings.ToUpper(name) != name {
			v.bad(at, "%q: want the name of a system call, or of a family of sockets as AF_PACKET", name)
		}
	})
	each(v, "rights.personality", r.Personality, func(at, name string) {
		if _, err := ParsePersonality([]string{name}); err != nil {
			v.fail(at, err)
		}
	})
	if r.Seccomp == SeccompNone && len(r.Syscalls) > 0 {
		v.bad("rights.syscalls", "has no meaning with seccomp: none")
	}
}

func (v *validator) console(c *Console) {
	oneOf(v, "console.type", c.Type)
	v.within("console.log_size", c.LogSize, float64(c.LogSize))
}

func (v *validator) boot(b *Boot) {
	each(v, "boot.marks", b.Marks, func(at, mark string) {
		if !word(mark, "._-") {
			v.bad(at, "%q: want letters, digits, '.', '_' and '-'", mark)
		}
	})
	each(v, "boot.depends", b.Depends, func(at string, n Name) {
		if _, err := ParseName(string(n)); err != nil {
			v.fail(at, err)
		}
	})
}

// argv checks a command: an absolute program, then any clean text.
func (v *validator) argv(at string, args []string) {
	if len(args) > MaxItems {
		v.bad(at, "%d words: want at most %d", len(args), MaxItems)
		return
	}
	for i, a := range args {
		switch words := strings.Fields(a); {
		case i == 0 && len(args) == 1 && len(words) > 1:
			v.bad(index(at, i), "%q: is one word; want [%s]", a, strings.Join(words, ", "))
		case i == 0:
			v.absolute(index(at, i), a)
		default:
			v.text(index(at, i), a)
		}
	}
}

// absolute checks a path that is used as it is written.
func (v *validator) absolute(at, p string) { v.isAbsolute(at, p) }

func (v *validator) isAbsolute(at, p string) bool {
	switch {
	case !v.text(at, p):
	case !path.IsAbs(p):
		v.bad(at, "%q: want an absolute path", p)
	case path.Clean(p) != p:
		v.bad(at, "%q: want %q", p, path.Clean(p))
	default:
		return true
	}
	return false
}

// text checks that s can be put into a file of lines, an argv or a terminal.
func (v *validator) text(at, s string) bool {
	switch {
	case len(s) > MaxText:
		v.bad(at, "%d bytes: want at most %d", len(s), MaxText)
	case !utf8.ValidString(s):
		v.bad(at, "%q: is not UTF-8", s)
	case strings.ContainsFunc(s, unicode.IsControl):
		v.bad(at, "%q: has a control character", s)
	default:
		return true
	}
	return false
}

func oneOf[T interface {
	~string
	Values() []string
}](v *validator, at string, value T) {
	if list := value.Values(); value != "" && !slices.Contains(list, string(value)) {
		v.fail(at, WantOneOf(string(value), list))
	}
}

// WantOneOf is the error for a word that is not among the allowed ones.
func WantOneOf(word string, list []string) error {
	if near := Nearest(word, list); near != "" {
		return fmt.Errorf("%q: want %s; did you mean %s?: %w", word, strings.Join(list, ", "), near, ErrInvalid)
	}
	return fmt.Errorf("%q: want %s: %w", word, strings.Join(list, ", "), ErrInvalid)
}

// each checks the items of a list, and that none comes twice.
func each[T comparable](v *validator, at string, list []T, check func(at string, item T)) {
	if len(list) > MaxItems {
		v.bad(at, "%d items: want at most %d", len(list), MaxItems)
		return
	}
	for i, item := range list {
		if slices.Contains(list[:i], item) {
			v.bad(index(at, i), "%v: is there twice", item)
			continue
		}
		check(index(at, i), item)
	}
}

func index(at string, i int) string { return fmt.Sprintf("%s[%d]", at, i) }

func sorted[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// word tells whether s is made of ASCII letters, digits and the bytes of more, and
// begins with a letter or digit.
func word(s, more string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.Contains(more, string(rune(c)))) {
			return false
		}
	}
	return s != "" && len(s) <= 255
}
