package count

import (
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

// Ceilings adds to all how often the guest whose group is g ran against its ceilings, where
// that is counted. userns says that it has a user namespace of its own, which holds most of
// them; spec gives its spec, nil when it is not known, and is asked only where hits are counted.
func Ceilings(d guest.Dirs, g *cgroup.Group, userns bool, spec func() *guest.Spec, all []guest.Pool) []guest.Pool {
	text, err := os.ReadFile(noted(d))
	if err != nil {
		return all
	}
	id, names, _ := strings.Cut(string(text), " ")
	number, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return all
	}
	counts, err := bpf.OpenRefused(uint32(number))
	if err != nil {
		return all
	}
	defer syscall.Close(counts)
	var st syscall.Stat_t
	if err := syscall.Fstat(g.FD(), &st); err != nil {
		return all
	}
	hits := bpf.ReadRefused(counts, st.Ino)
	for i, name := range strings.Fields(names) {
		if name == "-" || i >= len(hits) {
			continue
		}
		if at := slices.IndexFunc(all, func(p guest.Pool) bool { return p.Name == name }); at >= 0 {
			all[at].Hits = &hits[i]
		} else if most := most(name, userns, spec()); most > 0 || hits[i] > 0 {
			all = append(all, guest.Pool{Name: name, Max: most, Hits: &hits[i]})
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

// most is the value of a ceiling; 0 when it is not known, or not the guest's own.
func most(name string, userns bool, spec *guest.Spec) int64 {
	at := slices.Index(guest.CeilingNames(), name)
	if at < 0 || spec == nil {
		return 0
	}
	c := guest.Ceilings()[at]
	if !userns && !c.Shared {
		return 0
	}
	if name == "user_namespaces" && spec.Rights.Nesting && spec.Limits.Ceilings[name] == 0 {
		return guest.NestedUsers
	}
	if n := spec.Limits.Ceiling(name); n > 0 {
		return int64(n)
	}
	if strings.HasPrefix(c.Host, "RLIMIT_") {
		return 0
	}
	text, _ := os.ReadFile("/proc/sys/" + strings.ReplaceAll(c.Host, ".", "/"))
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}
