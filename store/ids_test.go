package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"vserver/guest"
)

func world(t testing.TB) guest.Dirs {
	root := t.TempDir()
	d := guest.Dirs{Config: filepath.Join(root, "config"), Data: filepath.Join(root, "data"),
		Run: filepath.Join(root, "run"), Etc: filepath.Join(root, "etc")}
	for _, dir := range []string{d.Config, d.Etc} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// reserve gives a number to a guest and, when live, writes its spec.
func reserve(t testing.TB, d guest.Dirs, n guest.Name, spec guest.Spec, live bool) guest.Spec {
	t.Helper()
	if err := Reserve(d, n, &spec); err != nil {
		t.Fatalf("%s: %v", n, err)
	}
	if live {
		if err := Write(d.Spec(n), &spec); err != nil {
			t.Fatal(err)
		}
	}
	return spec
}

// TestReserve gives numbers as guests come and go: none that a deleted guest had,
// until it is released.
func TestReserve(t *testing.T) {
	d := world(t)
	write(t, filepath.Join(d.Etc, "subuid"), "root:100000:65536\nalice:589824:65536\n")
	want := func(n guest.Name, spec guest.Spec, xid guest.XID) {
		t.Helper()
		if got := reserve(t, d, n, spec, true); got.XID != xid {
			t.Errorf("%s got %d, want %d", n, got.XID, xid)
		}
	}
	want("a", guest.Spec{}, 8)
	want("b", guest.Spec{}, 10) // 9 is alice's
	want("c", guest.Spec{Userns: guest.UsernsNone}, 9)
	want("d", guest.Spec{XID: 12}, 12)
	want("e", guest.Spec{}, 11)
	want("f", guest.Spec{}, 13)
	if next, err := NextXID(d); err != nil || next != 14 {
		t.Errorf("next: %d, %v", next, err)
	}
	if err := Remove(d.Spec("b")); err != nil {
		t.Fatal(err)
	}
	want("g", guest.Spec{}, 14) // b's files may still be there
	want("b", guest.Spec{}, 10) // but b may come back
	if err := errors.Join(Remove(d.Spec("b")), Reassign(d, "b", "bb"), Reassign(d, "b", "bb")); err != nil {
		t.Fatal(err)
	}
	want("h", guest.Spec{}, 15)
	if err := errors.Join(Release(d, "bb"), Release(d, "bb")); err != nil {
		t.Fatal(err)
	}
	want("i", guest.Spec{}, 10)
	// A spec written by hand has no record, and counts all the same.
	write(t, d.Spec("hand"), "{xid: 17, idbase: 1048576}")
	want("j", guest.Spec{}, 18)

	high := reserve(t, d, "high", guest.Spec{XID: 40000}, true)
	if high.IDBase != guest.MaxIDBase {
		t.Errorf("a high number got ids from %d", high.IDBase)
	}
	if again := reserve(t, d, "high", guest.Spec{XID: 40000}, true); again.IDBase != high.IDBase {
		t.Errorf("and then from %d", again.IDBase)
	}
	if higher := reserve(t, d, "higher", guest.Spec{XID: 40001}, true); higher.IDBase != guest.MaxIDBase-guest.IDs {
		t.Errorf("the next got ids from %d", higher.IDBase)
	}
	if all, err := All(d.Config); err != nil || len(Check(all, nil)) > 0 {
		t.Errorf("%v, %v", Check(all, nil), err)
	}
}

func TestReserveRefuses(t *testing.T) {
	d := world(t)
	write(t, filepath.Join(d.Etc, "subgid"), "# ours\n\nalice:589824:65536\n")
	write(t, filepath.Join(d.Etc, "passwd"), "root:x:0:0::/:/bin/sh\nldap:x:720896:5::/:/bin/sh\n")
	reserve(t, d, "a", guest.Spec{XID: 8}, true)
	reserve(t, d, "gone", guest.Spec{XID: 10}, false)
	for want, spec := range map[string]guest.Spec{
		"xid: 8 belongs to guest a":     {XID: 8},
		"xid: 10 belongs to guest gone": {XID: 10},
		"xid: the host's ids 589824 to 655359 would be the guest's, but belong to alice (" + d.Etc + "/subgid:3)": {XID: 9},
		"xid: the host's ids 720896 to 720896 would be the guest's, but belong to ldap (" + d.Etc + "/passwd:2)":  {XID: 11},
		"idbase: the host's ids 524288 to 589823 would be the guest's, but belong to guest a":                     {XID: 12, IDBase: 524288},
	} {
		err := Reserve(d, "b", &spec)
		if !errors.Is(err, guest.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	if records, err := Records(d); err != nil || len(records) != 2 {
		t.Errorf("%v, %v", records, err)
	}
}

// TestReserveEdited: a number that somebody has written into a spec is another's to no
// guest, whatever the records say; nor is the one that the guest had.
func TestReserveEdited(t *testing.T) {
	for _, text := range []string{"xid: 20\n", "{xid: 20}\n", "# xid: 8\nxid:   20 # by hand\n", "xid: 8\nidbase: 1310720\n"} {
		d := world(t)
		reserve(t, d, "a", guest.Spec{}, true)
		write(t, d.Spec("a"), text)
		if err := Reserve(d, "b", &guest.Spec{XID: 20}); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: 20 is given to another: %v", text, err)
		}
		if err := Reserve(d, "b", &guest.Spec{XID: 8}); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: 8 is given to another: %v", text, err)
		}
	}
}

// TestReserveAtOnce gives each of many builds at one time its own number.
func TestReserveAtOnce(t *testing.T) {
	d := world(t)
	var wg sync.WaitGroup
	xids := make([]guest.XID, 20)
	for i := range xids {
		wg.Go(func() {
			var spec guest.Spec
			if err := Reserve(d, guest.Name(fmt.Sprintf("g%d", i)), &spec); err != nil {
				t.Error(err)
			}
			xids[i] = spec.XID
		})
	}
	wg.Wait()
	seen := map[guest.XID]bool{}
	for _, x := range xids {
		if seen[x] || x < 8 || x > 27 {
			t.Errorf("%v", xids)
		}
		seen[x] = true
	}
}

func TestRecords(t *testing.T) {
	d := world(t)
	if records, err := Records(d); records != nil || err != nil {
		t.Errorf("none: %v, %v", records, err)
	}
	if err := os.Mkdir(d.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"8 524288 a\n# b\n\n9 0 b\n": "",
		"8 524288\n":                 ":1: want a number",
		"# x\n8 524289 a\n":          ":2: id base 524289",
		"8 4294967296 a\n":           ":1: strconv",
		"1 524288 a\n":               `:1: xid "1"`,
		"8 524288 ../a\n":            `:1: name "../a"`,
	} {
		write(t, recordsFile(d), text)
		records, err := Records(d)
		if want == "" && (err != nil || len(records) != 2) || want != "" && (err == nil || !strings.HasPrefix(err.Error(), recordsFile(d)+want)) {
			t.Errorf("%q: %v, %v", text, records, err)
		}
	}
	// Numbers are not given out when it is not known which are free.
	write(t, recordsFile(d), "1 524288 a\n")
	if err := Reserve(d, "a", &guest.Spec{}); err == nil {
		t.Error("a number was given out without knowing which are free")
	}
}

// TestRecordsAdded has a number added behind the others, and what a power cut left of a line
// overwritten.
func TestRecordsAdded(t *testing.T) {
	d := world(t)
	add := func(n guest.Name, want guest.XID) {
		t.Helper()
		var spec guest.Spec
		if err := Reserve(d, n, &spec); err != nil || spec.XID != want {
			t.Fatalf("%s: %d, %v, want %d", n, spec.XID, err, want)
		}
	}
	add("c", 8)
	before, err := os.Stat(recordsFile(d))
	if err != nil {
		t.Fatal(err)
	}
	add("b", 9)
	if after, err := os.Stat(recordsFile(d)); err != nil || !os.SameFile(before, after) {
		t.Errorf("another file in its place: %v", err)
	}
	for _, left := range []string{"10 65", "10 655360", "\x00\x00\x00"} {
		text, err := os.ReadFile(recordsFile(d))
		if err != nil {
			t.Fatal(err)
		}
		write(t, recordsFile(d), string(text)+left)
		if records, err := Records(d); err != nil || len(records) != 2 {
			t.Errorf("%q: %v, %v", left, records, err)
		}
		add("a", 10)
		if records, err := Records(d); err != nil || len(records) != 3 || records[2].Name != "a" {
			t.Errorf("%q, then a: %v, %v", left, records, err)
		}
		if err := Release(d, "a"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordsUnended has a record at the end whose line an editor did not end: the files of
// its guest may be all that is left of it, and are nobody else's.
func TestRecordsUnended(t *testing.T) {
	d := world(t)
	if err := os.Mkdir(d.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"8 524288 gone", "7 0 b\n8 524288 gone"} {
		write(t, recordsFile(d), text)
		var spec guest.Spec
		if err := Reserve(d, "a", &spec); err != nil || spec.XID != 9 {
			t.Errorf("%q: %d, %v, want 9", text, spec.XID, err)
		}
		records, err := Records(d)
		if err != nil || !slices.Contains(records, Record{XID: 8, IDBase: 524288, Name: "gone"}) {
			t.Errorf("%q: with one more: %v, %v", text, records, err)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add("8 524288 a\n# b\n\n9 0 b")
	f.Fuzz(func(t *testing.T, text string) {
		records, err := parseRecords(text)
		if err != nil {
			return
		}
		for _, r := range records {
			if r.XID < guest.MinXID || r.XID > guest.MaxXID || r.IDBase%guest.IDs != 0 || r.Name == "" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// TestEnrollTogether: one start gives all directories of old their numbers, so that the
// others find theirs without a look at each other.
func TestEnrollTogether(t *testing.T) {
	d := guest.DefaultDirs(t.TempDir())
	for _, n := range []string{"a", "b", "wrong"} {
		dir := filepath.Join(d.Config, n)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/vservers/"+n, filepath.Join(dir, "vdir")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(d.Config, "wrong/context"), []byte("no number\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Enroll(d, "a"); err != nil {
		t.Fatal(err)
	}
	before, err := Records(d)
	if err != nil || len(before) != 2 || before[0].XID == before[1].XID {
		t.Fatalf("records %v, %v", before, err)
	}
	lock, err := Lock(recordsFile(d)+".lock", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if err := Enroll(d, "b"); err != nil { // which would wait for the lock
		t.Error(err)
	}
}

// A spec that somebody wrote by hand gets what it does not say: never ids of the host.
func TestEnrollByHand(t *testing.T) {
	d := guest.DefaultDirs(t.TempDir())
	if err := os.MkdirAll(d.Config, 0o755); err != nil {
		t.Fatal(err)
	}
	for n, text := range map[guest.Name]string{"high": "xid: 40001\n", "none": "hostname: none\n", "root": "xid: 40002\nuserns: none\n"} {
		if err := os.WriteFile(d.Spec(n), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Enroll(d, n); err != nil {
			t.Fatal(err)
		}
		spec, err := Load(d.Spec(n))
		if err == nil {
			err = Numbers(d, n, spec)
		}
		if err != nil {
			t.Fatal(err)
		}
		full := spec.WithDefaults(n)
		if own := n != "root"; full.XID == 0 || !Numbered(&full) || own != (full.FirstID() >= guest.IDs) {
			t.Errorf("%s: xid %d, ids from %d", n, full.XID, full.FirstID())
		}
	}
}
