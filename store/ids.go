package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
)

// Record is a number that was given to a guest, with its range of ids. It outlives
// the guest until nothing owned by these ids is left on the host: a new guest must
// not find files of an old one that look like its own.
type Record struct {
	XID    guest.XID
	IDBase uint32 // 0 when the guest has no range of its own
	Name   guest.Name
}

// idsWait is how long another build may take to pick its number.
const idsWait = 10 * time.Second

// Reserve gives guest n its number and its range, and remembers them: after a power cut
// nothing in d.Data that was made afterwards is there without the record. An XID of 0
// becomes the lowest one from guest.AutoXID, or from .defaults/context.next, that is free;
// an IDBase of 0 stays so where the number gives the range, and is found for a number too
// high for that. Free is what no spec in d.Config, no record and no account of the host
// has. It may be called again for the same guest; what another one has is
// guest.ErrInvalid.
func Reserve(d guest.Dirs, n guest.Name, spec *guest.Spec) error {
	return changeRecords(d, func(records []Record) ([]Record, error) {
		s, err := newSurvey(d, records)
		if err != nil {
			return nil, err
		}
		auto := spec.XID == 0
		if records, err = s.give(records, n, spec); err == nil && auto {
			err = countXID(d, s.first, spec.XID)
		}
		return records, err
	})
}

// survey is what is said about numbers on the host outside of the records.
type survey struct {
	all   []Entry // that say another than the records
	taken []Range // accounts
	first guest.XID
}

func newSurvey(d guest.Dirs, records []Record) (s survey, err error) {
	names, err := Names(d.Config)
	if err != nil {
		return s, err
	}
	of := make(map[guest.Name]Record, len(records))
	for _, r := range records {
		of[r.Name] = r
	}
	s.all = load(d.Config, slices.DeleteFunc(names, func(n guest.Name) bool {
		r, ok := of[n]
		return ok && told(d.Spec(n), r)
	}))
	if s.taken, err = Accounts(d.Etc); err == nil {
		s.first, err = firstXID(d)
	}
	return s, err
}

// told tells whether a spec says of its guest's numbers what the record does, as far as
// one sees that without parsing it: to parse those of a hundred guests takes 15 ms.
func told(path string, r Record) bool {
	text, err := Read(path)
	has := func(key string, value any) bool {
		line := fmt.Appendf(nil, "\n%s: %d\n", key, value)
		return bytes.Contains(text, line) || bytes.HasPrefix(text, line[1:])
	}
	bases := 0
	if r.IDBase != r.XID.IDBase() {
		bases = 1
	}
	return err == nil && bytes.Count(text, []byte("idbase")) == bases && (bases == 0 || has("idbase", r.IDBase)) &&
		!bytes.Contains(text, []byte("userns")) && has("xid", r.XID)
}

// give gives guest n its number and range, and adds them to the records.
func (s *survey) give(records []Record, n guest.Name, spec *guest.Spec) ([]Record, error) {
	if err := s.allocator(n, records).pick(spec); err != nil {
		return nil, err
	}
	if r := recordOf(n, spec); !slices.Contains(records, r) {
		records = append(records, r)
	}
	return records, nil
}

func recordOf(n guest.Name, spec *guest.Spec) Record {
	r := Record{XID: spec.XID, Name: n}
	if of, ok := ids(spec); ok {
		r.IDBase = of.From
	}
	return r
}

// Release forgets the numbers of guest n, whose files are all gone, so that a new
// guest can have them. A guest that has none is no error.
func Release(d guest.Dirs, n guest.Name) error {
	return changeRecords(d, func(records []Record) ([]Record, error) {
		return slices.DeleteFunc(records, func(r Record) bool { return r.Name == n }), nil
	})
}

// Reassign gives the numbers of one guest to the one that it is renamed to. Calling
// it again does nothing.
func Reassign(d guest.Dirs, from, to guest.Name) error {
	return changeRecords(d, func(records []Record) ([]Record, error) {
		for i := range records {
			if records[i].Name == from {
				records[i].Name = to
			}
		}
		return records, nil
	})
}

// NextXID is the number that a Reserve without one would give now.
func NextXID(d guest.Dirs) (guest.XID, error) {
	records, err := Records(d)
	if err != nil {
		return 0, err
	}
	all, err := newSurvey(d, records)
	if err != nil {
		return 0, err
	}
	var spec guest.Spec
	err = all.allocator("", records).pick(&spec)
	return spec.XID, err
}

// allocator knows what is given to others than guest n.
type allocator struct {
	byXID map[guest.XID]string // whose number
	taken []Range
	first guest.XID // the least that is given by itself
}

// allocator is for guest n.
func (s *survey) allocator(n guest.Name, records []Record) *allocator {
	a := &allocator{byXID: make(map[guest.XID]string), taken: slices.Clone(s.taken), first: s.first}
	for _, r := range records {
		if r.Name == n {
			continue
		}
		owner := "guest " + string(r.Name)
		a.byXID[r.XID] = owner
		if r.IDBase != 0 {
			a.taken = append(a.taken, Range{From: r.IDBase, To: r.IDBase + guest.IDs - 1, Owner: owner})
		}
	}
	for _, e := range s.all {
		if e.Spec == nil || e.Name == n {
			continue
		}
		owner := "guest " + string(e.Name)
		a.byXID[e.Spec.XID] = owner
		if r, ok := ids(e.Spec); ok {
			r.Owner = owner
			a.taken = append(a.taken, r)
		}
	}
	return a
}

func (a *allocator) pick(spec *guest.Spec) error {
	auto := spec.XID == 0
	if auto {
		spec.XID = a.first
	}
	for ; spec.XID <= guest.MaxXID; spec.XID++ {
		if spec.IDBase == 0 && spec.Userns != guest.UsernsNone && spec.XID.IDBase() > guest.MaxIDBase {
			return a.pickBase(spec)
		}
		err := a.clash(spec)
		if err == nil || !auto {
			return err
		}
	}
	spec.XID = 0
	return fmt.Errorf("xid: all numbers to %d are given out: %w", guest.MaxXID, guest.ErrExists)
}

// pickBase finds a range for a number that is too high to give one. It looks from
// the top, where automatic numbers come last.
func (a *allocator) pickBase(spec *guest.Spec) error {
	for spec.IDBase = guest.MaxIDBase; spec.IDBase >= guest.AutoXID.IDBase(); spec.IDBase -= guest.IDs {
		r, _ := ids(spec)
		if !slices.ContainsFunc(a.taken, r.overlaps) {
			return a.clash(spec)
		}
	}
	spec.IDBase = 0
	return fmt.Errorf("idbase: no range of %d ids is free: %w", guest.IDs, guest.ErrExists)
}

func (a *allocator) clash(spec *guest.Spec) error {
	if owner, ok := a.byXID[spec.XID]; ok {
		return fault.Hint(fmt.Errorf("xid: %d belongs to %s: %w", spec.XID, owner, guest.ErrInvalid),
			"leave xid out for a free one; vserver list shows those in use")
	}
	r, ok := ids(spec)
	if !ok {
		return nil
	}
	if i := slices.IndexFunc(a.taken, r.overlaps); i >= 0 {
		return fault.Hint(fmt.Errorf("%s: the host's ids %d to %d would be the guest's, but belong to %s: %w",
			idsPath(spec), max(r.From, a.taken[i].From), min(r.To, a.taken[i].To), a.taken[i].Owner, guest.ErrInvalid),
			"leave xid and idbase out for free ones")
	}
	return nil
}

func recordsFile(d guest.Dirs) string { return filepath.Join(d.Data, "ids") }

// Records gives the numbers that were given out and not released, by number.
func Records(d guest.Dirs) ([]Record, error) {
	records, _, err := readRecords(d)
	return records, err
}

// readRecords is Records, and tells whether a line can be added to what is there. A last
// line that has no end is of an editor, and counts; or of a power cut while it was written:
// then nothing was made by it, and what is no record is passed over.
func readRecords(d guest.Dirs) (records []Record, whole bool, err error) {
	path := recordsFile(d)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	lines := text[:bytes.LastIndexByte(text, '\n')+1]
	records, err = parseRecords(string(lines))
	if err != nil {
		return nil, false, fmt.Errorf("%s:%w", path, err)
	}
	if last, err := parseRecords(string(text[len(lines):])); err == nil {
		records = append(records, last...)
	}
	byNumber(records)
	return records, len(lines) > 0 && len(lines) == len(text), nil
}

func byNumber(records []Record) {
	slices.SortStableFunc(records, func(a, b Record) int { return int(a.XID) - int(b.XID) })
}

// parseRecords reads lines of number, id base and name.
func parseRecords(text string) ([]Record, error) {
	var records []Record
	n := 0
	for line := range strings.Lines(text) {
		n++
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 3 {
			return nil, fmt.Errorf("%d: want a number, an id base and a name: %w", n, guest.ErrInvalid)
		}
		var r Record
		base, err := strconv.ParseUint(f[1], 10, 32)
		err = errors.Join(err, r.XID.UnmarshalText([]byte(f[0])), r.Name.UnmarshalText([]byte(f[2])))
		if r.IDBase = uint32(base); err == nil && (base%guest.IDs != 0 || base > guest.MaxIDBase) {
			err = fmt.Errorf("id base %d: %w", base, guest.ErrInvalid)
		}
		if err != nil {
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		records = append(records, r)
	}
	return records, nil
}

// changeRecords changes the records under their lock.
func changeRecords(d guest.Dirs, change func([]Record) ([]Record, error)) error {
	if err := os.MkdirAll(d.Data, 0o700); err != nil {
		return err
	}
	lock, err := Lock(recordsFile(d)+".lock", idsWait)
	if err != nil {
		return err
	}
	defer lock.Release()
	old, whole, err := readRecords(d)
	if err != nil {
		return err
	}
	records, err := change(slices.Clone(old))
	if err != nil || slices.Equal(old, records) {
		return err
	}
	if had := len(old); whole && len(records) > had && slices.Equal(old, records[:had]) {
		return addRecords(d, records[had:])
	}
	byNumber(records)
	const head = "# Numbers given to guests: xid, id base, name. A line stays until the guest's files are gone.\n"
	return replace(recordsFile(d), []byte(head+linesOf(records)), 0o600, false)
}

func linesOf(records []Record) string {
	var text strings.Builder
	for _, r := range records {
		fmt.Fprintln(&text, r.XID, r.IDBase, r.Name)
	}
	return text.String()
}

// addRecords puts lines behind those that are there, or none. It is what each new guest
// does: a file in the place of the other one takes three times as long.
func addRecords(d guest.Dirs, records []Record) error {
	f, err := os.OpenFile(recordsFile(d), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		if _, err = f.WriteString(linesOf(records)); err == nil {
			err = file.Settle(f)
		}
		if err != nil {
			err = errors.Join(err, f.Truncate(info.Size()))
		}
	}
	return errors.Join(err, f.Close())
}
