package legacy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"vserver/guest"
)

// Bounds of a directory. An ordinary one has some 50 files of some 10 bytes.
const (
	maxFiles = 4096
	maxDepth = 6
	maxText  = 64 << 10
)

// reader is one directory on its way to a spec.
type reader struct {
	fsys  fs.FS
	base  string // the host's path of the root of fsys
	dir   string // of the guest, below it
	guest *Guest
	keys  []string               // of all files, as paths below dir, sorted
	kinds map[string]fs.FileMode // of files and directories
	done  map[string]bool        // files that a finding tells of
}

// list finds all files below a directory of the guest's. A link is what it leads to,
// except that no directory is entered through one; vdir, run and cache are never entered.
func (r *reader) list(key string, depth int) {
	entries, err := fs.ReadDir(r.fsys, path.Join(r.dir, key))
	if err != nil {
		r.tell(Finding{Key: key, Fate: Wrong, Why: err.Error()})
		return
	}
	for _, e := range entries {
		sub := path.Join(key, e.Name())
		if len(r.kinds) >= maxFiles {
			r.tell(Finding{Key: sub, Fate: Wrong, Why: fmt.Sprintf("more than %d files", maxFiles)})
			return
		}
		r.kinds[sub] = e.Type()
		leaf := key == "" && slices.Contains([]string{"vdir", "run", "cache"}, e.Name())
		switch {
		case !e.IsDir() || leaf:
			r.keys = append(r.keys, sub)
		case depth < maxDepth:
			r.list(sub, depth+1)
		}
	}
}

// has tells whether there is such a file or directory.
func (r *reader) has(key string) bool { _, ok := r.kinds[key]; return ok }

// below gives the names of what is in a directory, sorted.
func (r *reader) below(dir string) (out []string) {
	for key := range r.kinds {
		if path.Dir(key) == dir {
			out = append(out, path.Base(key))
		}
	}
	slices.Sort(out)
	return out
}

// content reads a plain file; one that cannot be read is a finding.
func (r *reader) content(key string) (text string, ok bool) {
	if !r.has(key) {
		return "", false
	}
	text, err := r.read(path.Join(r.dir, key))
	if err != nil {
		r.tell(Finding{Key: key, Fate: Wrong, Why: plain(err)})
		return "", false
	}
	return text, true
}

// preset reads a file of the defaults for all guests.
func (r *reader) preset(key string) (text string, ok bool) {
	text, err := r.read(path.Join(".defaults", key))
	return text, err == nil
}

func (r *reader) read(name string) (string, error) {
	info, err := fs.Stat(r.fsys, name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("is no plain file: %w", guest.ErrInvalid)
	}
	f, err := r.fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("has more than %d bytes: %w", maxText, guest.ErrInvalid)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n"), err
}

// line is the first line of a file. A last line without its end counts.
func (r *reader) line(key string) (string, bool) {
	text, ok := r.content(key)
	return first(text), ok
}

func first(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

// items are the lines of a list: without comments and empty ones, and with their numbers.
type item struct {
	line int
	text string
}

func items(text string) (out []item) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' {
			out = append(out, item{n, line})
		}
	}
	return out
}

// lines gives the items of a file without their numbers.
func (r *reader) lines(key string) (out []string, ok bool) {
	text, ok := r.content(key)
	for _, i := range items(text) {
		out = append(out, i.text)
	}
	return out, ok
}

// tell adds a finding.
func (r *reader) tell(f Finding) {
	r.done[fileOf(f.Key)] = true
	f.Value = oneLine(f.Value)
	f.Why, f.Instead = oneLine(f.Why), oneLine(f.Instead)
	r.guest.Findings = append(r.guest.Findings, f)
}

// pass tells of a file that means nothing more.
func (r *reader) pass(f Finding, why string) {
	f.Fate, f.Why = Passed, why
	r.tell(f)
}

// refuse tells of a file that cannot be honoured.
func (r *reader) refuse(f Finding, why, instead string) {
	f.Fate, f.Why, f.Instead = Refused, why, instead
	r.tell(f)
}

// wrong tells of a file that cannot be right.
func (r *reader) wrong(f Finding, why string) {
	f.Fate, f.Why = Wrong, why
	r.tell(f)
}

// oneLine makes text fit for a terminal.
func oneLine(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	const most = 200
	s = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.TrimSpace(s))
	if cut := []rune(s); len(cut) > most {
		return string(cut[:most]) + "..."
	}
	return s
}

// set changes the spec and tells so; f says what was read and where it goes. A change
// after which the spec would not be valid is not made, and told as wrong or, when it is
// just that no stock kernel can, as refused.
func (r *reader) set(f Finding, change func(*guest.Spec)) bool {
	trial := r.guest.Spec
	change(&trial)
	found := trial.Validate()
	if len(found) == 0 {
		r.guest.Spec = trial
		if f.Fate == "" {
			f.Fate = Same
		}
		r.tell(f)
		return true
	}
	f.Fate, f.Why = Wrong, plain(found[0].Err)
	if errors.Is(found[0].Err, guest.ErrUnsupported) {
		f.Fate = Refused
	}
	if f.To != "" && found[0].Path != f.To {
		f.Why = found[0].Path + ": " + f.Why
	}
	r.tell(f)
	return false
}

// plain is an error without the kind at its end, which findings say themselves.
func plain(err error) string {
	return strings.TrimSuffix(err.Error(), ": "+guest.ErrInvalid.Error())
}

// with gives a map with one more entry, and leaves the old one as it was.
func with[V any](m map[string]V, key string, value V) map[string]V {
	out := map[string]V{key: value}
	for k, v := range m {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// add gives a list with one more item, if it is not there, and leaves the old one alone.
func add[T comparable](list []T, more T) []T {
	if slices.Contains(list, more) {
		return list
	}
	return append(slices.Clone(list), more)
}

// number reads a limit: "inf", or a number as C has it with k, m (of 1000), K or M (of
// 1024).
func number(s string) (n uint64, err error) {
	s = strings.TrimSpace(s)
	if s == "inf" {
		return guest.Unlimited, nil
	}
	factor := uint64(1)
	for _, u := range []struct {
		letter string
		factor uint64
	}{{"k", 1e3}, {"m", 1e6}, {"K", 1 << 10}, {"M", 1 << 20}} {
		if cut, ok := strings.CutSuffix(s, u.letter); ok {
			s, factor = cut, u.factor
			break
		}
	}
	n, err = strconv.ParseUint(s, 0, 64)
	if err != nil || strings.Contains(s, "_") || n > math.MaxUint64/factor {
		return 0, fmt.Errorf("%q: want a number, one with k, m, K or M, or inf", s)
	}
	return n * factor, nil
}

// ratio is a times b, or no limit where that is too much.
func times(a, b uint64) uint64 {
	if a > math.MaxInt64/b {
		return guest.Unlimited
	}
	return a * b
}
