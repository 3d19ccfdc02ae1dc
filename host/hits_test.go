package host

import (
	"fmt"
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

// The others are counted too. What counts from the next start is told as it is until then.
func TestAllCeilingHits(t *testing.T) {
	w := effects(t, guest.Limits{Ceilings: map[string]int{"sigpending": 20, "msgqueue": 40000, "memlock": 256 << 10}})
	w.instances()
	w.guest("nest", func(s *guest.Spec) {
		s.Rights.Nesting, s.Limits.Ceilings = true, map[string]int{"user_namespaces": 1}
	})
	w.start("nest")
	const again, files, memory, space = "resource temporarily unavailable", "too many open files", "cannot allocate memory", "no space left on device"
	list := []struct {
		name      string
		most, has int // -1: as many as were not in use
		why       string
	}{
		{"sigpending", 20, -1, again}, {"msgqueue", 40000, 4, files}, {"memlock", 256 << 10, 4, memory},
		{"inotify_watches", 5, 5, space}, {"fanotify_groups", 5, 5, files}, {"fanotify_marks", 5, 5, space},
		// The guest's own namespace is one of them.
		{"mnt_namespaces", 3, 2, space}, {"pid_namespaces", 3, 2, space}, {"uts_namespaces", 3, 2, space},
		{"ipc_namespaces", 3, 2, space}, {"cgroup_namespaces", 3, 2, space}, {"time_namespaces", 3, 2, space},
	}
	for _, c := range list[3:] {
		w.set("web1", "limits.ceilings."+c.name+"="+strconv.Itoa(c.most))
	}
	if _, err := w.Set("web1", []string{"limits.ceilings.msgqueue=50000", "limits.ceilings.net_namespaces=7"}); err != nil {
		t.Fatal(err)
	}
	pool := func(n guest.Name, name string) guest.Pool {
		st, err := w.Status(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range st.Limits {
			if p.Name == name && p.Hits != nil {
				return p
			}
		}
		return guest.Pool{Hits: new(uint64)}
	}
	eventually(t, "counted", func() bool { return pool("web1", "msgqueue").Max == 40000 })
	for _, c := range list {
		if p := pool("web1", c.name); p.Max != int64(c.most) || *p.Hits != 0 {
			t.Errorf("%s before: %d of %d", c.name, *p.Hits, p.Max)
		}
		out, _ := w.sh("web1", instances+" exhaust "+c.name)
		if want := fmt.Sprint(c.has, " ", c.why); out != want && !(c.has < 0 && strings.HasSuffix(out, c.why)) {
			t.Errorf("%s: had %s, want %s", c.name, out, want)
		}
		if p := pool("web1", c.name); *p.Hits != 1 && !(c.has < 0 && *p.Hits > 1) {
			t.Errorf("%s: %d hits", c.name, *p.Hits)
		}
	}
	if p := pool("web1", "net_namespaces"); p.Max != 7 || *p.Hits != 0 {
		t.Errorf("net_namespaces: %d hits of %d", *p.Hits, p.Max)
	}
	if out, code := w.sh("nest", "unshare -U true"); code == 0 || !strings.Contains(strings.ToLower(out), space) {
		t.Errorf("another user namespace: exit code %d, %s", code, out)
	}
	if p := pool("nest", "user_namespaces"); p.Max != 1 || *p.Hits != 1 {
		t.Errorf("user_namespaces: %d hits of %d", *p.Hits, p.Max)
	}
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
