package host

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vserver/bpf"
	"vserver/guest"
	"vserver/host/usage"
)

// Who runs against a ceiling is counted, for its guest alone.
func TestCeilingHits(t *testing.T) {
	w := effects(t, guest.Limits{Ceilings: map[string]int{
		"inotify_instances": 20, "net_namespaces": 1, "ptys": 2, "cgroups": 3}})
	w.instances()
	w.limited("web2", guest.Limits{Ceilings: map[string]int{"inotify_instances": 20}})
	hits := func(n guest.Name, name string) int {
		st, err := w.Status(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range st.Limits {
			if p.Name == name && p.Hits != nil {
				return int(*p.Hits)
			}
		}
		return -1
	}
	eventually(t, "counted", func() bool { return hits("web1", "inotify_instances") == 0 })
	if got := len(w.refused()); got != 0 {
		t.Errorf("%d groups have counts before", got)
	}
	for _, c := range []struct {
		name, script string
		code, hits   int
	}{
		{"inotify_instances", instances + " 20", 0, 0},
		{"inotify_instances", instances + " 21; " + instances + " 22", 1, 2},
		{"net_namespaces", "unshare -n true", 1, 1},
		{"ptys", "exec 3<>/dev/ptmx 4<>/dev/ptmx", 0, 0},
		{"ptys", "exec 3<>/dev/ptmx 4<>/dev/ptmx; : 5<>/dev/ptmx", 1, 1},
		{"cgroups", "cd /sys/fs/cgroup && mkdir a b c && rmdir a b c", 0, 0},
		{"cgroups", "cd /sys/fs/cgroup; mkdir a b c; mkdir d; s=$?; rmdir a b c; exit $s", 1, 1},
	} {
		if out, code := w.sh("web1", c.script); code != c.code {
			t.Errorf("%s: exit code %d, %s", c.script, code, out)
		}
		if got := hits("web1", c.name); got != c.hits {
			t.Errorf("%s: %d hits of %s, want %d", c.script, got, c.name, c.hits)
		}
	}
	if got := hits("web2", "inotify_instances"); got != 0 {
		t.Errorf("the neighbour has %d hits", got)
	}
	if got := len(w.refused()); got != 1 {
		t.Errorf("%d groups have counts", got)
	}
	w.killWorker()
	w.sh("web1", instances+" 21")
	if got := hits("web1", "inotify_instances"); got != 3 {
		t.Errorf("without a worker: %d hits, want 3", got)
	}
	all, err := usage.All(w.Dirs)
	if err != nil || len(all) != 3 || guest.Hits(all[1].Limits) < 6 {
		t.Errorf("usage: %+v, %v", all, err)
	}
	w.stop("web1")
	eventually(t, "no counts of what is gone", func() bool { return len(w.refused()) == 0 })
}

// refused are the groups of which vserverd has counts.
func (w *world) refused() []uint64 {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.Dirs.Run, "refused"))
	if err != nil {
		w.t.Fatal(err)
	}
	id, _, _ := strings.Cut(string(text), " ")
	number, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		w.t.Fatal(err)
	}
	counts, err := bpf.OpenRefused(uint32(number))
	if err != nil {
		w.t.Fatal(err)
	}
	defer syscall.Close(counts)
	groups, err := bpf.RefusedGroups(counts)
	if err != nil {
		w.t.Error(err)
	}
	return groups
}
