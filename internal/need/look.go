package need

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// look lists what could be left behind, as lines for a reader. Things that bear the
// name of the directory own are always listed. Things that any process may have made
// (links, cgroups, programs) are listed only on a machine that is ours alone.
func look(own string) map[string]bool {
	out := map[string]bool{}
	add := func(format string, args ...any) { out[fmt.Sprintf(format, args...)] = true }
	alone := os.Getenv(AloneVar) == "1"

	for fd, target := range fds() {
		add("open file %d: %s", fd, target)
	}
	for _, m := range mounts() {
		if alone || within(own, m.point) || within(own, m.source) || within(own, m.root) {
			add("mount %s (%s)", m.point, m.kind)
		}
	}
	for _, p := range processes(own) {
		add("process %s", p)
	}
	files, _ := filepath.Glob(filepath.Join(own, "*"))
	for _, f := range files {
		if filepath.Base(f) != builtName {
			add("file %s", f)
		}
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		b, err := os.ReadFile(l)
		if file := strings.TrimSpace(string(b)); err == nil && (alone || within(own, file)) {
			add("loop device %s: %s", strings.Split(l, "/")[3], file)
		}
	}
	mark := filepath.Base(own)
	for _, c := range cgroups() {
		if alone || strings.Contains(c, mark) {
			add("cgroup %s", c)
		}
	}
	if alone {
		lookAtNet(add)
		for _, id := range bpfPrograms() {
			add("BPF program %d", id)
		}
	}
	return out
}

// within tells whether path is dir or lies below it.
func within(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// fds gives what the process has open, except what it opens for looking.
func fds() map[int]string {
	out := map[int]string{}
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return out
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		fd, _ := strconv.Atoi(n)
		target, err := os.Readlink("/proc/self/fd/" + n)
		if err == nil && fd != int(d.Fd()) {
			out[fd] = target
		}
	}
	return out
}

// mount is a line of mountinfo.
type mount struct{ root, point, kind, source, options string }

// mounts reads the mounts that this process sees.
func mounts() []mount {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return parseMounts(string(b))
}

func parseMounts(text string) []mount {
	var out []mount
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if ok && len(l) >= 6 && len(r) >= 3 {
			out = append(out, mount{root: l[3], point: l[4], kind: r[0], source: r[1], options: r[2]})
		}
	}
	return out
}

// processes gives this process's children, and every process that was born with our
// TMPDIR in its environment or has its program, root or working directory there.
func processes(own string) []string {
	self := os.Getpid()
	var out []string
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range pids {
		pid, _ := strconv.Atoi(filepath.Base(p))
		stat, err := os.ReadFile(p + "/stat")
		if err != nil || pid == self {
			continue
		}
		name, parent := parseStat(string(stat))
		if parent == self || bornOf(own, p) {
			out = append(out, fmt.Sprintf("%d (%s)", pid, name))
		}
	}
	return out
}

// bornOf tells whether the process with directory proc bears the sign of own.
func bornOf(own, proc string) bool {
	env, _ := os.ReadFile(proc + "/environ")
	for v := range strings.SplitSeq(string(env), "\x00") {
		if v == "TMPDIR="+own {
			return true
		}
	}
	for _, link := range []string{"exe", "root", "cwd"} {
		if target, err := os.Readlink(filepath.Join(proc, link)); err == nil && within(own, target) {
			return true
		}
	}
	return false
}

// parseStat gives the name and the parent from /proc/PID/stat. A name may hold
// parentheses and spaces.
func parseStat(s string) (name string, parent int) {
	open, shut := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || shut < open {
		return "", 0
	}
	if f := strings.Fields(s[shut+1:]); len(f) > 1 {
		parent, _ = strconv.Atoi(f[1])
	}
	return s[open+1 : shut], parent
}

// cgroups gives the groups at the top of each hierarchy that are named like ours.
func cgroups() []string {
	var out []string
	for _, m := range cgroupMounts() {
		found, _ := filepath.Glob(filepath.Join(m, "vserver*"))
		out = append(out, found...)
	}
	return out
}

// lookAtNet lists links named like ours, every address, and named namespaces.
func lookAtNet(add func(string, ...any)) {
	links, _ := net.Interfaces()
	for _, l := range links {
		if strings.HasPrefix(l.Name, "vs") {
			add("link %s", l.Name)
		}
		addrs, _ := l.Addrs()
		for _, a := range addrs {
			add("address %s on %s", a, l.Name)
		}
	}
	for _, dir := range []string{"/run/netns", "/sys/fs/bpf"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			add("%s/%s", dir, e.Name())
		}
	}
}
