// Package sysctl knows the settings of a host that bite when it has many guests: what
// they are, what they should be, and why. What the programs in a guest then say ("too
// many open files", "no space left on device", "resource temporarily unavailable")
// names none of them.
package sysctl

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"

	"vserver/kernel/proc"
)

// Setting is one setting of the host.
type Setting struct {
	Name   string `json:"name"` // as in sysctl(8)
	Value  string `json:"value"`
	Wanted string `json:"wanted"` // the least that is wanted
	Why    string `json:"why"`
	OK     bool   `json:"ok"`
	// Hint is how to set it, where Fix does not.
	Hint string `json:"hint,omitempty"`
}

// Change is what Fix did to a setting.
type Change struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
	Err  error  `json:"-"` // why it could not be changed
}

// Load is what the host has to carry.
type Load struct {
	Guests  int  // in all, running or not
	Private bool // some of them have a network namespace with a route to it
}

// least is a setting with the smallest value that will do.
type least struct {
	name  string
	value int64
	why   string
}

// pidLimit is the highest kernel.pid_max of a 64-bit kernel (PID_MAX_LIMIT).
const pidLimit = 4 << 20

// table gives what is wanted for a load.
func table(l Load) []least {
	n := int64(l.Guests)
	// Neighbours of a private guest: it on the host and the gateway in it, for IPv4,
	// IPv6 and the link-local addresses of both; twice that for good measure. What a
	// kernel begins with does for a few guests, here and below.
	neighbours := max(1024, 256+16*n)
	t := []least{
		{"kernel.pid_max", min(pidLimit, 32768+4096*n), "numbers for 4096 processes in each guest, and for the host beside them"},
		{"kernel.pty.max", max(4096, 1024+64*n), "terminals of all guests together"},
		{"kernel.keys.maxkeys", 2000, "keys of each user; systemd makes some for every service"},
		{"kernel.keys.maxbytes", 2_000_000, "bytes of the keys of each user"},
		{"fs.file-max", 1 << 40, "open files of all guests together, of which one could take all; at 240 bytes each of its own memory it then cannot (as systemd has it)"},
		{"fs.nr_open", 1 << 20, "open files that a process may ask for; databases want many"},
		{"fs.aio-max-nr", 1 << 28, "asynchronous requests of all guests together, for those with rights.syscalls: [io_setup], of which one could take all; at 64 bytes each of its own memory it then cannot"},
		{"fs.inotify.max_user_instances", 1024, "counted for each guest; systemd takes about ten, and so does each container inside"},
		{"fs.inotify.max_user_watches", 65536, "counted for each guest; file synchronisers and editors take thousands"},
		{"vm.max_map_count", 262144, "maps of each process; Elasticsearch refuses to start with less"},
	}
	for _, kind := range []string{"user", "mnt", "pid", "uts", "ipc", "net", "cgroup"} {
		t = append(t, least{"user.max_" + kind + "_namespaces", 4096, "namespaces of each guest, its sandboxed services among them"})
	}
	if !l.Private {
		return t
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		base := "net." + family + ".neigh.default.gc_thresh"
		const why = "neighbours of the host and of all private guests; beyond them packets are lost"
		t = append(t, least{base + "1", neighbours / 8, why}, least{base + "2", neighbours / 2, why}, least{base + "3", neighbours, why})
	}
	return append(t, least{"net.ipv4.ip_forward", 1, "packets of private guests go through the host"})
}

// Look compares the host's settings with what is wanted for a load. Settings that this
// kernel does not have are left out.
func Look(l Load) ([]Setting, error) {
	var all []Setting
	for _, want := range table(l) {
		value, err := proc.Sysctl(want.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s := want.against(value)
		all = append(all, s)
	}
	return all, nil
}

// against compares a value with what is wanted.
func (w least) against(value string) Setting {
	n, err := strconv.ParseInt(value, 10, 64)
	// fs.file-max may be 2^63 - 1, and beyond on some kernels: plenty.
	return Setting{
		Name: w.name, Value: value, Wanted: strconv.FormatInt(w.value, 10), Why: w.why,
		OK: err == nil && n >= w.value || errors.Is(err, strconv.ErrRange),
	}
}

// Fix sets what is not OK among the settings, and notes it in the file at path, so
// that it is set again at each boot (sysctl.d(5)). Nothing is ever lowered. It goes on
// over what cannot be set, which Change.Err says; the error is about the file.
func Fix(settings []Setting, path string) ([]Change, error) {
	var changes []Change
	// The thresholds of neighbours must never cross: highest first.
	for _, s := range slices.Backward(settings) {
		if s.OK || s.Hint != "" {
			continue
		}
		c := Change{Name: s.Name, From: s.Value, To: s.Wanted}
		c.Err = proc.SetSysctl(s.Name, s.Wanted)
		changes = append(changes, c)
	}
	slices.Reverse(changes)
	return changes, note(path, changes)
}
