package count

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"vserver/bpf"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/ebpf"
	"vserver/kernel/file"
)

// noted is the file in which vserverd says where it has the kernel count how often
// ceilings were reached: the number of the map, and the names of its counts in their order,
// "-" for those that this kernel does not count.
func noted(d guest.Dirs) string { return filepath.Join(d.Run, "refused") }

// Announce notes where the counts are that bpf.CountRefusals made.
func Announce(d guest.Dirs, counts int, names []string) error {
	id, err := ebpf.IDOfMap(counts)
	if err != nil {
		return err
	}
	words := []string{strconv.FormatUint(uint64(id), 10)}
	for _, name := range guest.CeilingNames() {
		if !slices.Contains(names, name) {
			name = "-"
		}
		words = append(words, name)
	}
	return file.Replace(noted(d), []byte(strings.Join(words, " ")+"\n"), 0o600)
}

// Silence takes the note of Announce away.
func Silence(d guest.Dirs) error { return file.Forget(noted(d)) }

// Refused is where hits of ceilings are counted. Nil counts none.
type Refused struct {
	counts int
	names  []string         // in the order of the counts
	host   map[string]int64 // what those ceilings are that are the host's settings
}

// OpenRefused gives nil where nobody counts.
func OpenRefused(d guest.Dirs) *Refused {
	text, err := os.ReadFile(noted(d))
	if err != nil {
		return nil
	}
	id, names, _ := strings.Cut(string(text), " ")
	number, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return nil
	}
	counts, err := bpf.OpenRefused(uint32(number))
	if err != nil {
		return nil
	}
	r := &Refused{counts: counts, names: strings.Fields(names), host: map[string]int64{}}
	for _, c := range guest.Ceilings() {
		if c.Host == "" || strings.HasPrefix(c.Host, "RLIMIT_") {
			continue
		}
		text, _ := os.ReadFile("/proc/sys/" + strings.ReplaceAll(c.Host, ".", "/"))
		r.host[c.Name], _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	}
	return r
}

// Close closes what OpenRefused gave.
func (r *Refused) Close() {
	if r != nil {
		syscall.Close(r.counts)
	}
}

// Ceilings adds to all how often the guest whose group is g ran against its ceilings.
// userns says that it has a user namespace of its own, which holds most of them; nesting that
// it may make more; own are the ceilings that it has by name.
func (r *Refused) Ceilings(g *cgroup.Group, userns, nesting bool, own map[string]int, all []guest.Pool) []guest.Pool {
	var st syscall.Stat_t
	if r == nil || syscall.Fstat(g.FD(), &st) != nil {
		return all
	}
	hits := bpf.ReadRefused(r.counts, st.Ino)
	for i, c := range guest.Ceilings() {
		if i >= len(r.names) || i >= len(hits) || r.names[i] != c.Name {
			continue
		}
		most := int64(cmp.Or(own[c.Name], c.Default))
		switch {
		case !userns && !c.Shared:
			most = 0
		case own[c.Name] == 0 && nesting && c.Name == "user_namespaces":
			most = guest.NestedUsers
		case most == 0:
			most = r.host[c.Name]
		}
		if at := slices.IndexFunc(all, func(p guest.Pool) bool { return p.Name == c.Name }); at >= 0 {
			all[at].Hits = &hits[i]
		} else if most > 0 || hits[i] > 0 {
			all = append(all, guest.Pool{Name: c.Name, Max: most, Hits: &hits[i]})
		}
	}
	return all
}

// Sweep forgets the counts of groups that are there no more.
func Sweep(d guest.Dirs, counts int) error {
	ids, err := bpf.RefusedGroups(counts)
	if len(ids) == 0 || err != nil {
		return err
	}
	cg, err := cgroup.Find()
	if err != nil {
		return err
	}
	list, err := os.ReadDir(filepath.Join(cg.Unified.Mount, d.Cgroup))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there := map[uint64]bool{}
	for _, entry := range list {
		if info, err := entry.Info(); err == nil && entry.IsDir() {
			there[info.Sys().(*syscall.Stat_t).Ino] = true
		}
	}
	for _, id := range ids {
		if !there[id] {
			err = errors.Join(err, bpf.ForgetRefused(counts, id))
		}
	}
	return err
}
