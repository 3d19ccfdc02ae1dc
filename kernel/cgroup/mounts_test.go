package cgroup

import (
	"reflect"
	"strings"
	"testing"
)

func words(s string) []string { return strings.Fields(s) }

func TestParseMounts(t *testing.T) {
	const table = `22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 master:3 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /mnt/a\040b rw,relatime - cgroup none rw,xattr,memory,clone_children,release_agent=/x
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
50 31 0:38 / /a - cgroup3 x y
short - cgroup2 x rw
`
	got, err := parseMounts(strings.NewReader(table))
	want := []Hierarchy{
		{Mount: "/sys/fs/cgroup/cpu,cpuacct", Controllers: []string{"cpu", "cpuacct"}},
		{Mount: "/mnt/a b", Controllers: []string{"memory"}},
		{Mount: "/sys/fs/cgroup/systemd", Controllers: []string{}},
		{Mount: "/sys/fs/cgroup/unified", V2: true, options: []string{"memory_recursiveprot", "nsdelegate", "relatime", "rw"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n")
	f.Add("32 31 0:29 / /a\\040\\13\\ rw shared:9 - cgroup cgroup rw,cpu,cpuacct")
	f.Fuzz(func(t *testing.T, table string) {
		got, err := parseMounts(strings.NewReader(table))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(table, "\n") + 1; len(got) > n {
			t.Errorf("%d hierarchies in %d lines", len(got), n)
		}
		for _, h := range got {
			if h.V2 && len(h.Controllers) > 0 {
				t.Errorf("%+v", h)
			}
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("populated 1\nfrozen 0\n12\n0\n"), "frozen")
	f.Fuzz(func(t *testing.T, text []byte, key string) {
		value(text, key)
		for _, pid := range parsePids(text, nil) {
			if pid <= 0 {
				t.Errorf("pid %d", pid)
			}
		}
		appendDirs(text, nil)
	})
}
