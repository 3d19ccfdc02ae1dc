package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/store/legacy"
	"vserver/store/settings"
)

// Exists tells whether a guest has a spec at path, or a directory of Linux-VServer's in
// its place.
func Exists(path string) (bool, error) {
	there, err := file.Exists(path)
	if err != nil || there {
		return there, err
	}
	return old(oldDir(path)), nil
}

// Old tells whether what is wanted of a guest is said by a directory of Linux-VServer's,
// since there is no spec at path.
func Old(path string) bool {
	there, err := file.Exists(path)
	return err == nil && !there && old(oldDir(path))
}

// Migrated is where the directory of a guest is kept that has a spec now. No guest can have
// that directory's name.
func Migrated(d guest.Dirs, n guest.Name) string {
	return filepath.Join(d.Config, aside, string(n))
}

// oldDir is the directory that stands in place of the spec at path.
func oldDir(path string) string { return strings.TrimSuffix(path, suffix) }

// old tells whether dir is such a directory: one without a vdir is no guest, and neither is
// what Keep leaves.
func old(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "vdir"))
	return err == nil && !kept(dir)
}

// aside is where directories are kept that are no guests any more, below that of the specs.
const aside = ".migrated"

// Keep leaves a link at the place of the directory of a guest that has a spec now, for scripts
// that look there. No guest is read by it.
func Keep(d guest.Dirs, n guest.Name) error {
	at := filepath.Join(d.Config, string(n))
	if kept(at) {
		return nil
	}
	return os.Symlink(filepath.Join(aside, string(n)), at)
}

func kept(dir string) bool {
	to, err := os.Readlink(dir)
	return err == nil && to == filepath.Join(aside, filepath.Base(dir))
}

// Redepend has the guest that is such a directory, in place of the spec at path, depend on
// guest now where it depended on was. The other lines stay.
func Redepend(path string, was, now guest.Name) error {
	list := filepath.Join(oldDir(path), "apps", "init", "depends")
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) == string(was) {
			lines[i] = strings.Replace(line, string(was), string(now), 1)
		}
	}
	return WriteText(list, []byte(strings.Join(lines, "")))
}

// Annex writes words into the list at key of the guest that is such a directory, each on a
// line of its own and in the place of one that says the same or its contrary. clear takes all
// others away.
func Annex(path, key string, words []string, clear bool) error {
	list := filepath.Join(oldDir(path), key)
	text, err := os.ReadFile(list)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		bare := guest.BareWord(strings.TrimSpace(line))
		same := func(w string) bool { return guest.BareWord(w) == bare }
		if !clear && !slices.ContainsFunc(words, same) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	lines = append(lines, words...)
	return WriteText(list, []byte(strings.Join(append(lines, ""), "\n")))
}

// MapDevice writes what the guest that is such a directory may do with a device into its map;
// nothing takes it out.
func MapDevice(path, device string, open, create bool) error {
	dir := filepath.Join(oldDir(path), "apps", "vdevmap")
	maps, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, m := range maps {
		text, err := os.ReadFile(filepath.Join(dir, m.Name(), "device"))
		if err == nil && strings.TrimSpace(string(text)) == device {
			if err := os.RemoveAll(filepath.Join(dir, m.Name())); err != nil {
				return err
			}
		}
	}
	files := map[string]bool{"open": open, "create": create, "device": open || create}
	at := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(device, "/dev/"), "/", "-"))
	for name, there := range files {
		text := ""
		if name == "device" {
			text = device + "\n"
		}
		if !there {
			continue
		}
		if err := WriteText(filepath.Join(at, name), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// gone is what vdir is called in a directory that is being removed: without vdir it is no
// guest's any more.
const gone = ".vdir-removed"

// removeOld removes the directory in place of the spec at path, or finishes it. Links in
// it are not followed.
func removeOld(path string) error {
	dir := oldDir(path)
	if kept(dir) {
		return os.Remove(dir)
	}
	err := os.Rename(filepath.Join(dir, "vdir"), filepath.Join(dir, gone))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		if _, err = os.Lstat(filepath.Join(dir, gone)); err != nil {
			return nil
		}
	}
	if err != nil {
		return err
	}
	at, err := file.OpenDir(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer at.Close()
	return at.RemoveAll(filepath.Base(dir))
}

// Explain reads the directory of Linux-VServer's that belongs to the spec at path, be
// there a spec or not, with what becomes of each of its files. There is none:
// guest.ErrNotFound.
func Explain(path string) (*legacy.Guest, error) {
	dir := oldDir(path)
	if !old(dir) {
		return nil, fmt.Errorf("%s: %w", dir, guest.ErrNotFound)
	}
	n, err := guest.ParseName(filepath.Base(dir))
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if err := owned(dir, info); err != nil {
		return nil, err
	}
	return legacy.Read(trustedFS{os.DirFS(filepath.Dir(dir))}, filepath.Dir(dir), n), nil
}

func loadOld(path string) (*guest.Spec, error) {
	g, err := Explain(path)
	if errors.Is(err, guest.ErrNotFound) {
		return nil, guest.ErrNotFound // who asks says of whom
	}
	if err != nil {
		return nil, err
	}
	if p := g.Problems(); len(p) > 0 {
		return nil, p
	}
	return &g.Spec, nil
}

// trustedFS gives files that nobody but root (or the caller) can have written, as Read
// does.
type trustedFS struct{ fs.FS }

// Open opens a file and refuses one that is not to be trusted.
func (t trustedFS) Open(name string) (fs.File, error) {
	f, err := t.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		err = trusted(name, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Stat tells of what a path leads to, without opening it: a fifo would wait for a writer.
func (t trustedFS) Stat(name string) (fs.FileInfo, error) { return fs.Stat(t.FS, name) }

// Lstat tells of a link itself.
func (t trustedFS) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(t.FS, name) }

// ReadLink gives where a link leads.
func (t trustedFS) ReadLink(name string) (string, error) { return fs.ReadLink(t.FS, name) }

// ReadDir lists a directory.
func (t trustedFS) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(t.FS, name) }

// Numbered tells whether a spec says which number its guest has and, if that is to have a
// range of ids of its own, which one.
func Numbered(spec *guest.Spec) bool {
	_, ranged := ids(spec)
	return spec.XID != 0 && (ranged || spec.Userns == guest.UsernsNone)
}

// Numbers fills in what a spec does not say (see Numbered), from what has been given to
// the guest. Without that it has ids of the host's own.
func Numbers(d guest.Dirs, n guest.Name, spec *guest.Spec) error {
	if Numbered(spec) {
		return nil
	}
	records, err := Records(d)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Name == n && (spec.XID == 0 || spec.XID == r.XID) {
			spec.XID, spec.IDBase = r.XID, r.IDBase
		}
	}
	return nil
}

// Enroll gives guest n what its spec does not say: a number, and a range of ids. They are
// its own until it is deleted. So a directory of Linux-VServer's gets them, and a spec that
// somebody wrote by hand. The first of many directories that come together gets them for
// all: hundreds that start at once would else read each other's one after the other.
func Enroll(d guest.Dirs, n guest.Name) error {
	spec, err := Load(d.Spec(n))
	if err == nil {
		err = Numbers(d, n, spec)
	}
	if err != nil {
		return err
	}
	records, err := Records(d)
	if err != nil || slices.Contains(records, recordOf(n, spec)) {
		return err
	}
	return changeRecords(d, func(records []Record) ([]Record, error) {
		if slices.Contains(records, recordOf(n, spec)) { // meanwhile
			return records, nil
		}
		s, err := newSurvey(d, records)
		if err != nil {
			return nil, err
		}
		if records, err = s.give(records, n, spec); err != nil {
			return nil, err
		}
		return s.giveOthers(d, records), nil
	})
}

// giveOthers gives all directories that have none yet their numbers. What is wrong with
// one is told when it starts.
func (s *survey) giveOthers(d guest.Dirs, records []Record) []Record {
	had := make(map[guest.Name]bool, len(records))
	for _, r := range records {
		had[r.Name] = true
	}
	for _, e := range s.all {
		if e.Spec == nil || had[e.Name] || !Old(d.Spec(e.Name)) {
			continue
		}
		spec := *e.Spec
		if more, err := s.give(records, e.Name, &spec); err == nil {
			records = more
		}
	}
	return records
}

// Rendered is the spec that the directory of Linux-VServer's of guest n says, as text,
// with the numbers that were given to it.
func Rendered(d guest.Dirs, n guest.Name) ([]byte, error) {
	spec, err := loadOld(d.Spec(n))
	if err == nil {
		err = Numbers(d, n, spec)
	}
	if err != nil {
		return nil, err
	}
	return settings.Render(n, spec), nil
}
