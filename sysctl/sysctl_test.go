package sysctl

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vserver/internal/need"
	"vserver/kernel/proc"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestTableGrowsWithGuests(t *testing.T) {
	value := func(l Load, name string) int64 {
		for _, w := range table(l) {
			if w.name == name {
				return w.value
			}
		}
		return -1
	}
	few, many, huge := Load{Guests: 1, Private: true}, Load{Guests: 500, Private: true}, Load{Guests: 49151}
	for name, grows := range map[string]bool{
		"kernel.pid_max": true, "kernel.pty.max": true, "fs.file-max": false, "fs.aio-max-nr": false,
		"net.ipv4.neigh.default.gc_thresh3": true, "net.ipv6.neigh.default.gc_thresh1": true,
		"fs.inotify.max_user_instances": false, "vm.max_map_count": false, "user.max_net_namespaces": false,
	} {
		if got := value(many, name) > value(few, name); got != grows || value(few, name) <= 0 {
			t.Errorf("%s: %d for one, %d for many", name, value(few, name), value(many, name))
		}
	}
	if got := value(huge, "kernel.pid_max"); got != pidLimit {
		t.Errorf("pid_max %d", got)
	}
	if value(huge, "net.ipv4.ip_forward") != -1 || value(many, "net.ipv4.ip_forward") != 1 {
		t.Error("ip_forward is for private guests")
	}
	for _, w := range table(many) {
		if w.why == "" {
			t.Errorf("%s: no reason", w.name)
		}
	}
}

func TestAgainst(t *testing.T) {
	w := least{"fs.file-max", 100, "x"}
	for value, ok := range map[string]bool{"99": false, "100": true, "9223372036854775807": true, "18446744073709551615": true, "": false, "a": false, "-1": false} {
		if got := w.against(value); got.OK != ok || got.Value != value || got.Wanted != "100" {
			t.Errorf("%q: %+v", value, got)
		}
	}
}

func TestLook(t *testing.T) {
	all, err := Look(Load{Guests: 10, Private: true})
	if err != nil || len(all) < 15 {
		t.Fatalf("%d settings, %v", len(all), err)
	}
	for _, s := range all {
		if _, err := strconv.ParseUint(s.Value, 10, 64); err != nil {
			t.Errorf("%+v", s)
		}
	}
}

func TestMerged(t *testing.T) {
	old := []byte("# mine\n; too\nfs.file-max = 500\nkernel/pid_max=70000\n a.b =\tc d\nnonsense\n=x\n")
	got := string(merged(old, []Change{{Name: "fs.file-max", To: "400"}, {Name: "kernel.pid_max", To: "80000"}, {Name: "new.one", To: "7"}}))
	want := header + "a.b = c d\nfs.file-max = 500\nkernel.pid_max = 80000\nnew.one = 7\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
	if again := string(merged([]byte(got), nil)); again != got {
		t.Errorf("again\n%s", again)
	}
}

func TestNote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc/sysctl.d/60-vserver.conf")
	if err := note(path, []Change{{Name: "a", To: "1", Err: errors.New("x")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("nothing was changed, and a file was written")
	}
	if err := note(path, []Change{{Name: "a", To: "1", Err: errors.New("x")}, {Name: "b", To: "2"}}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != header+"b = 2\n" {
		t.Errorf("%q, %v", text, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Fix sets what is too low and leaves alone what is not, on a machine to throw away.
func TestFix(t *testing.T) {
	need.Root(t)
	need.VM(t)
	path := filepath.Join(t.TempDir(), "60-vserver.conf")
	load := Load{Guests: 300, Private: true}
	before, err := Look(load)
	if err != nil {
		t.Fatal(err)
	}
	before = append(before, Setting{Name: "no.such", Wanted: "5"}, Setting{Name: "kernel.pid_max", Wanted: "1", Hint: "by hand"})
	changes, err := Fix(before, path)
	if err != nil || len(changes) < 3 {
		t.Fatalf("changes %v, %v", changes, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		t.Logf("%+v", c)
		line := c.Name + " = " + c.To + "\n"
		if failed := c.Err != nil; failed != (c.Name == "no.such") || strings.Contains(string(text), line) == failed {
			t.Errorf("%+v; file\n%s", c, text)
		}
	}
	after, err := Look(load)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range after {
		if !s.OK {
			t.Errorf("still not: %+v", s)
		}
		was := before[slices.IndexFunc(before, func(b Setting) bool { return b.Name == s.Name })]
		if was.OK && was.Value != s.Value {
			t.Errorf("%s: changed from %s to %s without need", s.Name, was.Value, s.Value)
		}
	}
	if changes, err := Fix(after, path); err != nil || len(changes) > 0 {
		t.Errorf("again: %v, %v", changes, err)
	}
	if v, err := proc.Sysctl("kernel.pid_max"); err != nil || v == "1" {
		t.Errorf("pid_max %s, %v", v, err)
	}
}

func FuzzMerged(f *testing.F) {
	f.Add([]byte("# x\na.b = 3\nc/d=4\n"))
	f.Fuzz(func(t *testing.T, old []byte) {
		once := merged(old, []Change{{Name: "a.b", To: "5"}})
		values := lines(once)
		if !enough(values["a.b"], "5") {
			t.Errorf("%q", once)
		}
	})
}
