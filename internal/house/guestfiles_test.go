package house

import (
	"slices"
	"strings"
	"testing"
)

// Paths are followed through joins, variables, fields, arguments and results, and what
// only the host makes beside a guest's files is let be.
func TestGuestFiles(t *testing.T) {
	const text = `== host/a.go
package host
import ("fmt"; "os"; "path/filepath"; "vserver/kernel/file"; "vserver/layer"; "vserver/made")
func one(d Dirs, n Name) {
	os.ReadFile(filepath.Join(d.Guest(n), "stale"))
	os.Rename(d.Guest(n), filepath.Join(d.Guest(n), "upper"))
	os.ReadFile(filepath.Join(d.Guest(n), "root/etc/passwd"))
	root := filepath.Join(d.Guest(n), "root")
	os.RemoveAll(root)
	file.OpenDir(root)
	r := root + "/etc"
	os.Stat(r)
	two(1, root)
	t := thing{dir: root}
	layer.Open(t.etc(), nil, 0)
	os.OpenRoot(fmt.Sprintf("/proc/%d/root", pid))
	os.ReadDir(fmt.Sprintf("/proc/%d/root/dev", pid))
	os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	filepath.WalkDir(root, nil)
}
func two(_ int, dir string) {
	for _, name := range []string{"a", "b"} {
		os.Remove(filepath.Join(dir, name))
	}
	made.Make(dir)
}
func (t thing) etc() string { return filepath.Join(t.dir, "etc") }
== made/b.go
package made
import "os"
func Make(at string) { os.Mkdir(at+"/x", 0o755); os.Mkdir("/x", 0o755) }
== kernel/c/c.go
package c
func f() { os.Open(filepath.Join(d.Guest(n), "root/x")) }
`
	const astray = " of a path into a guest's files: package layer or kernel/file has handles"
	var want []string
	for _, place := range []string{"host/a.go:6: ReadFile", "host/a.go:11: Stat", "host/a.go:14: Open", "host/a.go:16: ReadDir",
		"host/a.go:18: WalkDir", "host/a.go:22: Remove", "made/b.go:3: Mkdir"} {
		want = append(want, place+astray)
	}
	if got := lines(GuestFiles(parse(t, text))); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
