package cgroup

import (
	"bufio"
	"io"
	"slices"
	"strings"
)

// parseMounts reads the hierarchies from a mount table in the form of
// /proc/PID/mountinfo (proc_pid_mountinfo(5)):
//
//	33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
//	id parent dev root mount options optional... - type source super-options
//
// Lines that it does not understand are passed over: the table holds whatever anybody
// on the host has mounted.
func parseMounts(r io.Reader) ([]Hierarchy, error) {
	var all []Hierarchy
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if h, ok := parseMount(strings.TrimSuffix(line, "\n")); ok {
			all = append(all, h)
		}
		switch err {
		case nil:
		case io.EOF:
			return all, nil
		default:
			return nil, err
		}
	}
}

func parseMount(line string) (Hierarchy, bool) {
	before, after, ok := strings.Cut(line, " - cgroup")
	if !ok {
		return Hierarchy{}, false
	}
	left, right := strings.Split(before, " "), strings.Split(after, " ")
	if len(left) < 6 || len(right) != 3 {
		return Hierarchy{}, false
	}
	h := Hierarchy{Mount: unescape(left[4])}
	switch right[0] {
	case "2":
		h.V2, h.options = true, strings.Split(left[5]+","+right[2], ",")
		slices.Sort(h.options)
		h.options = slices.Compact(h.options)
	case "":
		h.Controllers = slices.DeleteFunc(strings.Split(right[2], ","), notController)
	default:
		return Hierarchy{}, false
	}
	return h, true
}

// notController tells the other options of a v1 mount from the names of controllers.
func notController(option string) bool {
	switch option {
	case "", "rw", "ro", "none", "all", "noprefix", "xattr", "clone_children", "cpuset_v2_mode", "favordynmods":
		return true
	}
	return strings.ContainsRune(option, '=')
}

// unescape undoes the octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	if !strings.ContainsRune(s, '\\') {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte(s[i+1]<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return '0' <= c && c <= '7' }
