package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestSettings(t *testing.T) {
	got, err := parseSettings(strings.NewReader("# what we want\n\nmodule xfs\nmodule btrfs\nprogram rsync\nondisk /usr\ndisk 64\nmemory 512\nseconds 7\nparts 3\ncuts 2\n"))
	want := settings{modules: []string{"xfs", "btrfs"}, programs: []string{"rsync"}, onDisk: []string{"/usr"}, disks: []int64{64 << 20}, memory: 512, parts: 3, cuts: 2, patience: 7 * time.Second, silence: 4 * time.Minute}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for text, want := range map[string]string{
		"module":           "1: want a word and a value",
		"module a b":       "1: want a word and a value",
		"\nmemory lots":    "2: memory lots: want a positive number",
		"disk 0":           "1: disk 0: want a positive number",
		"colour 3":         "1: colour: want module, program, ondisk, disk, memory, parts, cuts or seconds",
		"#\n#\nseconds -1": "3: seconds -1: want a positive number",
	} {
		if _, err := parseSettings(strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
	if _, err := readSettings("testdata/no-such-file"); err != nil {
		t.Errorf("no file: %v", err)
	}
}

// TestDivide sees all tests of this package in one part or another, once.
func TestDivide(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parts, err := divide([]string{self, "-test.v"}, 3)
	if err != nil || len(parts) != 3 {
		t.Fatal(parts, err)
	}
	all := map[string]int{}
	for _, p := range parts {
		run, ok := strings.CutPrefix(p[len(p)-1], "-test.run=^(")
		if !ok || len(p) != 3 {
			t.Fatalf("%q", p)
		}
		for name := range strings.SplitSeq(strings.TrimSuffix(run, ")$"), "|") {
			all[name]++
		}
	}
	for _, name := range []string{"TestDivide", "TestModules", "TestMachine"} {
		if all[name] != 1 {
			t.Errorf("%s: %d times", name, all[name])
		}
	}
	chosen := []string{self, "-test.run=^TestModules$"}
	if parts, err := divide(chosen, 3); err != nil || !reflect.DeepEqual(parts, [][]string{chosen}) {
		t.Errorf("%q, %v", parts, err)
	}
}

func TestModules(t *testing.T) {
	depends, aliases := parseModinfo("license=GPL\x00depends=jbd2,crc16\x00alias=fs-ext4\x00alias=ext3\x00name=ext4\x00broken\x00")
	if !reflect.DeepEqual(depends, []string{"jbd2", "crc16"}) || !reflect.DeepEqual(aliases, []string{"fs-ext4", "ext3"}) {
		t.Errorf("modinfo: %q, %q", depends, aliases)
	}
	got := moduleTable([]module{
		{name: "jbd2"},
		{name: "nf_tables", depends: []string{"nfnetlink"}}, // built in
		{name: "ext4", depends: []string{"jbd2"}, aliases: []string{"fs-ext4"}},
	})
	if want := "ext4 jbd2 ext4\nfs-ext4 jbd2 ext4\njbd2 jbd2\nnf_tables nf_tables\n"; got != want {
		t.Errorf("table:\n%swant:\n%s", got, want)
	}
	if name, ok := moduleName("/lib/modules/6/kernel/net/nf-tables.ko.xz"); name != "nf_tables" || !ok {
		t.Errorf("name %q, %v", name, ok)
	}
}

func TestOops(t *testing.T) {
	if err := oops("[    0.1] all is well\n[    0.2] watchdog: nothing\n"); err != nil {
		t.Error(err)
	}
	err := oops("[    0.1] BUG: unable to handle page fault\n[    0.2] Oops: 0002 [#1] SMP\r\n[    0.3] more\n")
	if err == nil || err.Error() != "the kernel: [    0.2] Oops: 0002 [#1] SMP" {
		t.Errorf("got %v", err)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("module xfs\ndisk 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSettings(strings.NewReader(text))
		if err == nil && (s.memory < 1 || s.patience <= 0) {
			t.Errorf("%q gives %+v", text, s)
		}
	})
}
