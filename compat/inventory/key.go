package inventory

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing/fstest"

	"vserver/guest"
	"vserver/store/legacy"
)

// KeyGuest is the name of the guest that the directories of keys are of.
const KeyGuest guest.Name = "web1"

// key asks the reader of util-vserver's directories what becomes of a file in one, with
// this text, and gives the directory.
func key(name, text string) (Answer, string, fs.FS) {
	if !isKey(name) {
		return Same, "as the reader of such directories says: `vserver NAME config --explain`", nil
	}
	const n = KeyGuest
	text = strings.ReplaceAll(text, `\n`, "\n")
	files := fstest.MapFS{}
	put := func(at, text string, mode fs.FileMode) {
		if files[path.Join(string(n), at)] == nil {
			files[path.Join(string(n), at)] = &fstest.MapFile{Data: []byte(text), Mode: mode}
		}
	}
	mode := fs.FileMode(0o644)
	if strings.HasPrefix(name, "scripts/") {
		mode = 0o755
	}
	if name != "vdir" {
		put(name, text+"\n", mode)
	}
	put("vdir", "/vservers/web1", fs.ModeSymlink|0o777)
	for _, other := range besides(name) {
		put(other[0], other[1], 0o644)
	}
	found := legacy.Read(files, guest.DefaultDirs("").Config, n).Findings
	i := slices.IndexFunc(found, func(f legacy.Finding) bool { return strings.SplitN(f.Key, ":", 2)[0] == name })
	if i < 0 { // one that tells of a directory tells of what is in it
		i = slices.IndexFunc(found, func(f legacy.Finding) bool { return f.Key == path.Dir(name)+"/setting" })
	}
	if i < 0 {
		return 0, "the reader says nothing of it", files
	}
	answer, why := told(found[i])
	return answer, why, files
}

// isKey tells the name of a file from the title of a group.
func isKey(name string) bool {
	return !strings.Contains(name, " ")
}

// besides are files without which another means nothing.
func besides(name string) [][2]string {
	dir, file := path.Dir(name), path.Base(name)
	switch {
	case strings.HasPrefix(dir, "interfaces/") && file != "nodev":
		return [][2]string{{dir + "/ip", "192.0.2.1"}, {dir + "/dev", "eth0"}}
	case strings.HasPrefix(dir, "interfaces/"):
		return [][2]string{{dir + "/ip", "192.0.2.1"}}
	case strings.HasPrefix(dir, "apps/vdevmap/"):
		return [][2]string{{dir + "/open", ""}, {dir + "/device", "/dev/fuse"}}
	case strings.HasPrefix(dir, "dlimits/"):
		return [][2]string{{dir + "/directory", "/vservers/web1"}, {dir + "/space_total", "1000"}, {dir + "/inodes_total", "1000"}, {"context", "40001"}}
	case dir == "sched":
		return [][2]string{{"sched/fill-rate", "1"}, {"sched/interval", "4"}}
	case strings.HasPrefix(dir, "sysctl/"):
		return [][2]string{{dir + "/setting", "kernel.shmmax"}, {dir + "/value", "1"}}
	case name == "ncontext" || name == "tag":
		return [][2]string{{"context", "40001"}}
	case name == "apps/init/cmd.start-sync":
		return [][2]string{{"apps/init/sync", ""}}
	case dir == "cgroup" && strings.Contains(file, "burst"):
		return [][2]string{{"cgroup/cpu.cfs_quota_us", "50000"}}
	case name == "cgroup/memory.swap.max":
		return [][2]string{{"cgroup/memory.max", "512M"}}
	case dir == "ionice":
		return [][2]string{{"ionice/class", "2"}}
	}
	return nil
}

// told is a finding as an answer and its reason.
func told(f legacy.Finding) (Answer, string) {
	var parts []string
	if f.To != "" {
		parts = append(parts, f.To)
	}
	for _, p := range []string{f.Why, f.Instead} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	why := strings.Join(parts, "; ")
	switch f.Fate {
	case legacy.Same:
		return Same, why
	case legacy.Near, legacy.Passed:
		return Other, why
	case legacy.Refused:
		return None, why
	}
	return 0, string(f.Fate) + ": " + why
}
