// Package legacy reads what Linux-VServer's tools (util-vserver) have of a guest: the
// directory /etc/vservers/NAME with a file for each setting, and /etc/vservers/.defaults.
// Nothing is written, and nothing but the file system it is given is looked at.
//
// The outcome is a spec, always a valid one, and a finding for each file: what becomes of
// it on a stock kernel. A file that Linux-VServer did not know is a finding as well, where
// the old tools passed over slips of the pen.
//
//	name.go    who the guest is, where its files are
//	init.go    apps/init
//	net.go     interfaces, nflags, ncapabilities
//	mount.go   fstab
//	right.go   flags and capabilities
//	limit.go   rlimits, ulimits, dlimits
//	cpu.go     sched, cpuset, cgroup
//	rest.go    scripts, the other apps, keys that mean nothing here
//
//house:allow the keys of one directory, a file for each part of it
package legacy

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"vserver/guest"
)

// Fate is what becomes of a key.
type Fate string

// The fates of a key.
const (
	Same    Fate = "same"    // it has the effect that it had
	Near    Fate = "near"    // it has that effect by other means, with a difference
	Passed  Fate = "passed"  // it is so for every guest, or has no meaning any more
	Refused Fate = "refused" // no stock kernel, or not this program, can do it
	Unknown Fate = "unknown" // Linux-VServer had no such key
	Wrong   Fate = "wrong"   // its value cannot be right: the guest does not start
)

// Finding is what becomes of one file, or of one line or word in it. The JSON names are
// an interface.
type Finding struct {
	Key     string `json:"key"`               // as interfaces/0/ip, fstab:3
	Value   string `json:"value,omitempty"`   // on one line
	Fate    Fate   `json:"fate"`              //
	To      string `json:"to,omitempty"`      // the key of the spec that says it
	Why     string `json:"why,omitempty"`     //
	Instead string `json:"instead,omitempty"` // the nearest alternative
}

// Guest is a guest as its directory has it.
type Guest struct {
	Name     guest.Name
	Dir      string     // its path on the host
	Spec     guest.Spec // valid, without defaults; no number when the guest had dynamic ones
	Findings []Finding  // by the order of their keys
}

// Problem is a file whose value cannot be right.
type Problem struct {
	File string
	Why  string
}

// Error gives "file: why".
func (p Problem) Error() string { return p.File + ": " + p.Why }

// Problems are all that is wrong with a directory. They are guest.ErrInvalid.
type Problems []Problem

// Error gives a line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Is makes them guest.ErrInvalid.
func (ps Problems) Is(target error) bool { return target == guest.ErrInvalid }

// Problems are the findings that keep the guest from starting.
func (g *Guest) Problems() (out Problems) {
	for _, f := range g.Findings {
		if f.Fate == Wrong {
			out = append(out, Problem{File: path.Join(g.Dir, f.Key), Why: f.Why})
		}
	}
	return out
}

// Points are the points of a guest's life at which scripts run, in their order.
func Points() []string {
	var h guest.Hooks
	var out []string
	for _, p := range h.Points() {
		out = append(out, p.Point)
	}
	return out
}

// Read reads guest n from the directory of all guests. base is that directory's path on
// the host, by which the spec names scripts and trees.
func Read(fsys fs.FS, base string, n guest.Name) *Guest {
	r := &reader{fsys: fsys, base: base, dir: string(n), guest: &Guest{Name: n, Dir: path.Join(base, string(n))}, kinds: map[string]fs.FileMode{}, done: map[string]bool{}}
	r.list("", 0)
	for _, section := range []func(){
		r.name, r.init, r.network, r.mounts, r.rights, r.limits, r.cpu, r.scripts, r.apps, r.spaces, r.others,
	} {
		section()
	}
	for _, key := range r.keys {
		if !r.done[key] {
			r.stranger(key)
		}
	}
	slices.SortStableFunc(r.guest.Findings, func(a, b Finding) int {
		return strings.Compare(fileOf(a.Key), fileOf(b.Key))
	})
	return r.guest
}

// fileOf is the file of a finding's key, without the line.
func fileOf(key string) string {
	file, _, _ := strings.Cut(key, ":")
	return file
}

// stranger tells of a file that no section knows.
func (r *reader) stranger(key string) {
	if backup(path.Base(key)) {
		r.tell(Finding{Key: key, Fate: Passed, Why: "a backup copy"})
		return
	}
	f := Finding{Key: key, Fate: Unknown, Why: "Linux-VServer knows no such key"}
	if near := guest.Nearest(path.Base(key), append(topKeys(), Points()...)); near != "" && near != path.Base(key) {
		f.Why = fmt.Sprintf("%s; was %s meant?", f.Why, near)
	}
	if r.kinds[key].IsRegular() {
		f.Value, _ = r.line(key)
	}
	r.tell(f)
}

// backup tells whether a name is one that editors and package managers leave.
func backup(name string) bool {
	for _, end := range []string{".rpmsave", ".rpmnew", ".rpmorig", "~", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".swp"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return strings.Contains(name, ".cfsaved")
}

func topKeys() []string {
	return []string{"vdir", "run", "cache", "name", "disabled", "context", "ncontext", "noncontext", "tag", "cflags", "flags",
		"bcapabilities", "ccapabilities", "nflags", "ncapabilities", "umask", "personality", "nice", "badness", "shell",
		"fstab", "fstab.remote", "fstab.local", "schedule", "nocgroup", "nonetns", "style", "mark", "depends", "environment",
		"killseq", "runlevel", "ip", "dev", "nodev", "prefix", "mask", "bcast", "nodename", "domainname"}
}
