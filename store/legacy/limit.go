package legacy

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"vserver/guest"
)

// page is what the numbers of rss, as, memlock, anon and shmem counted. Linux-VServer ran
// on machines with larger pages as well, but hardly anybody there had guests.
const page = 4096

// bound is one limit as its files have it.
type bound struct {
	min, soft, hard *uint64
	files           []string
}

// limits reads the limits of the guest, of its processes, and of its disk.
func (r *reader) limits() {
	r.rlimits()
	r.ulimits()
	r.dlimits()
}

// bounds reads the files RES, RES.min, RES.soft and RES.hard of a directory, by RES.
func (r *reader) bounds(dir string, least bool) (names []string, all map[string]*bound) {
	all = map[string]*bound{}
	for _, file := range r.below(dir) {
		key := dir + "/" + file
		res, kind, _ := strings.Cut(file, ".")
		text, ok := r.line(key)
		if !ok {
			continue
		}
		n, err := number(text)
		if err != nil {
			r.tell(Finding{Key: key, Value: text, Fate: Wrong, Why: err.Error()})
			continue
		}
		b := all[res]
		if b == nil {
			b = &bound{}
			all[res] = b
			names = append(names, res)
		}
		switch {
		case kind == "":
			b.soft, b.hard = over(b.soft, n), over(b.hard, n)
		case kind == "soft":
			b.soft = &n
		case kind == "hard":
			b.hard = &n
		case kind == "min" && least:
			b.min = &n
		default:
			continue // no such key
		}
		b.files = append(b.files, key)
	}
	return names, all
}

// over gives a value of its own file before one of the plain file.
func over(had *uint64, n uint64) *uint64 {
	if had != nil {
		return had
	}
	return &n
}

// top is the higher bound, the soft one where there is no other.
func (b *bound) top() uint64 {
	if b.hard != nil {
		return *b.hard
	}
	if b.soft != nil {
		return *b.soft
	}
	return guest.Unlimited
}

// rlimit is the limit of a process that a bound makes, in units of unit bytes.
func (b *bound) rlimit(unit uint64) guest.Rlimit {
	l := guest.Rlimit{Soft: b.top(), Hard: b.top()}
	if b.soft != nil && *b.soft < l.Hard {
		l.Soft = *b.soft
	}
	if unit > 1 {
		l.Soft, l.Hard = scaled(l.Soft, unit), scaled(l.Hard, unit)
	}
	return l
}

func scaled(n, unit uint64) uint64 {
	if n == guest.Unlimited {
		return n
	}
	return times(n, unit)
}

// each tells the same of all files of a bound, and makes the change once.
func (r *reader) each(b *bound, f Finding, change func(*guest.Spec)) {
	for _, key := range b.files {
		f := f
		f.Key = key
		f.Value, _ = r.line(key)
		if change == nil {
			r.tell(f)
		} else {
			r.set(f, change)
		}
	}
}

// rlimits reads the limits of the context as a whole.
func (r *reader) rlimits() {
	names, all := r.bounds("rlimits", true)
	for _, res := range names {
		b := all[res]
		switch res {
		case "rss", "anon":
			r.memory(b)
		case "nproc":
			r.count(b, "limits.pids", func(s *guest.Spec, n int) { s.Limits.Pids = n })
		case "nsock":
			r.count(b, "network.sockets", func(s *guest.Spec, n int) { s.Network.Sockets = n })
		case "cpu", "fsize", "data", "stack", "core", "nofile", "as", "memlock", "msgqueue":
			unit := map[string]uint64{"as": page, "memlock": page, "msgqueue": 512}[res]
			f := Finding{To: "limits.rlimits." + res, Fate: Near, Why: "for each process, not for all of them together"}
			if res == "msgqueue" {
				f.Fate, f.Why = Same, ""
			}
			r.each(b, f, func(s *guest.Spec) { s.Limits.Rlimits = with(s.Limits.Rlimits, res, b.rlimit(unit)) })
		case "shmem":
			r.shared(b, "kernel.shmall", strconv.FormatUint(b.top(), 10))
		case "nsems":
			r.shared(b, "kernel.sem", fmt.Sprintf("32000 %d 500 32000", b.top()))
		case "semary":
			r.shared(b, "kernel.sem", fmt.Sprintf("32000 1024000000 500 %d", b.top()))
		case "dentry":
			r.each(b, Finding{Fate: Near, To: "limits.memory", Why: "the kernel's memory for the guest's names is part of its memory"}, nil)
		case "openfd":
			r.each(b, Finding{Fate: Refused, Why: "no controller counts the files of a guest",
				Instead: "limits.rlimits: {nofile: N} for each process, with limits.pids"}, nil)
		case "locks":
			r.each(b, Finding{Fate: Refused, Why: "no controller counts locks", Instead: "limits.memory, which holds what they take"}, nil)
		default:
			for _, key := range b.files {
				r.stranger(key)
			}
		}
	}
}

// memory makes limits of memory of pages.
func (r *reader) memory(b *bound) {
	const why = "the page cache counts as well, which rss did not"
	bytes := func(n uint64) guest.Bytes { return guest.Bytes(times(n, page)) }
	for _, key := range b.files {
		f := Finding{Key: key, Fate: Near, Why: why, To: "limits.memory"}
		f.Value, _ = r.line(key)
		n, err := number(f.Value)
		if err != nil {
			continue
		}
		if n == guest.Unlimited {
			r.pass(f, "no limit")
			continue
		}
		_, kind, _ := strings.Cut(path.Base(key), ".")
		switch kind {
		case "soft":
			f.To = "limits.memory_soft"
			r.set(f, func(s *guest.Spec) { s.Limits.MemorySoft = bytes(n) })
		case "min":
			f.To = "limits.memory_low"
			r.set(f, func(s *guest.Spec) { s.Limits.MemoryLow = bytes(n) })
		default:
			r.set(f, func(s *guest.Spec) { s.Limits.Memory = bytes(n) })
		}
	}
}

// count makes a limit of a number of things.
func (r *reader) count(b *bound, to string, put func(*guest.Spec, int)) {
	n := b.top()
	if n == guest.Unlimited {
		r.each(b, Finding{Fate: Passed, Why: "no limit"}, nil)
		return
	}
	r.each(b, Finding{To: to}, func(s *guest.Spec) { put(s, int(min(n, 1<<30))) })
}

// shared makes a setting of the guest's IPC namespace of a limit of what is in it.
func (r *reader) shared(b *bound, sysctl, value string) {
	if b.top() == guest.Unlimited {
		r.each(b, Finding{Fate: Passed, Why: "no limit"}, nil)
		return
	}
	r.each(b, Finding{To: "rights.sysctls", Fate: Near, Why: sysctl + " of the guest's own"},
		func(s *guest.Spec) { s.Rights.Sysctls = with(s.Rights.Sysctls, sysctl, value) })
}

// ulimits reads the limits of each process.
func (r *reader) ulimits() {
	names, all := r.bounds("ulimits", false)
	known := guest.Rlimits()
	for _, res := range names {
		if !slices.Contains(known, res) {
			for _, key := range all[res].files {
				r.stranger(key)
			}
			continue
		}
		unit := uint64(1)
		r.each(all[res], Finding{To: "limits.rlimits." + res},
			func(s *guest.Spec) { s.Limits.Rlimits = with(s.Limits.Rlimits, res, all[res].rlimit(unit)) })
	}
}

// dlimits reads the limits of the disk: those of the file system that the guest's tree is
// on.
func (r *reader) dlimits() {
	for _, name := range r.below("dlimits") {
		dir := "dlimits/" + name
		if !r.kinds[dir].IsDir() {
			continue
		}
		if r.has(dir + "/disabled") {
			for _, file := range r.below(dir) {
				r.tell(Finding{Key: dir + "/" + file, Fate: Passed, Why: "the limit is disabled"})
			}
			continue
		}
		at, ok := r.line(dir + "/directory")
		covers := ok && below(r.guest.Spec.Root.Path, path.Clean("/"+at))
		f := Finding{Key: dir + "/directory", Value: at, Fate: Same, Why: "the guest's tree is there"}
		if !covers {
			f.Fate, f.Why, f.Instead = Refused, "the guest's tree is not there", "a quota of that file system's own, or limits of a volume"
		}
		if ok {
			r.tell(f)
		}
		r.dlimit(dir, covers)
	}
}

// below tells whether a path is dir or lies in it.
func below(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

func (r *reader) dlimit(dir string, covers bool) {
	for _, k := range []struct {
		name, to string
		put      func(*guest.Spec, uint64)
	}{
		{"space_total", "limits.disk", func(s *guest.Spec, n uint64) { s.Limits.Disk = guest.Bytes(times(n, 1024)) }},
		{"inodes_total", "limits.inodes", func(s *guest.Spec, n uint64) { s.Limits.Inodes = guest.Count(n) }},
	} {
		key := dir + "/" + k.name
		text, ok := r.line(key)
		if !ok {
			continue
		}
		n, err := number(text)
		f := Finding{Key: key, Value: text, To: k.to}
		switch {
		case err != nil:
			r.wrong(f, err.Error())
		case !covers:
			r.refuse(f, "the guest's tree is not there", "")
		case n == guest.Unlimited:
			r.pass(f, "no limit")
		default:
			r.set(f, func(s *guest.Spec) { k.put(s, min(n, 1<<50)) })
		}
	}
	if text, ok := r.line(dir + "/reserved"); ok {
		r.tell(Finding{Key: dir + "/reserved", Value: text, Fate: Refused, Why: "a quota keeps nothing for the guest's root",
			Instead: r.base + "/.defaults/dlimits/reserve, which keeps a part of the disk for the host"})
	}
}
