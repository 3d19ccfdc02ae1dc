package legacy

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"vserver/guest"
)

// name reads who the guest is and where its files are.
func (r *reader) name() {
	r.vdir()
	r.numbers()
	r.uts()
	if name, ok := r.line("name"); ok {
		f := Finding{Key: "name", Value: name, Fate: Passed, Why: "the guest is called as its directory"}
		if name != string(r.guest.Name) {
			f.Fate, f.Instead = Refused, "rename the directory: mv "+r.base+"/"+r.dir+" "+r.base+"/"+name
		}
		r.tell(f)
	}
	if shell, ok := r.line("shell"); ok {
		r.set(Finding{Key: "shell", Value: shell, To: "shell"}, func(s *guest.Spec) { s.Shell = firstWord(shell) })
	} else if shell, ok := r.preset("shell"); ok && first(shell) != "" {
		r.set(Finding{Key: ".defaults/shell", Value: first(shell), To: "shell"}, func(s *guest.Spec) { s.Shell = firstWord(first(shell)) })
	}
	r.priorities()
	r.personality()
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// vdir finds the tree of the guest's files, whose ids begin at 0 as on any system.
func (r *reader) vdir() {
	const key = "vdir"
	at := path.Join(r.base, r.dir, key)
	if kind, ok := r.kinds[key]; !ok {
		r.tell(Finding{Key: key, Fate: Wrong, Why: "is missing"})
		return
	} else if kind&fs.ModeSymlink != 0 {
		to, err := fs.ReadLink(r.fsys, path.Join(r.dir, key))
		if err != nil {
			r.tell(Finding{Key: key, Fate: Wrong, Why: plain(err)})
			return
		}
		if at = to; !path.IsAbs(to) {
			at = path.Join(r.base, r.dir, to)
		}
	} else if !kind.IsDir() {
		r.tell(Finding{Key: key, Fate: Wrong, Why: "is neither a link nor a directory"})
		return
	}
	r.set(Finding{Key: key, Value: at, To: "root.path", Fate: Near,
		Why: "the files keep their ids from 0 up; the guest's mount shifts them to ids of its own (root.idmap)"},
		func(s *guest.Spec) {
			s.Root = guest.Root{Kind: guest.RootDir, Path: path.Clean(at), IDMap: true}
		})
}

// numbers reads the numbers of the guest's contexts.
func (r *reader) numbers() {
	context, ok := r.line("context")
	if ok {
		var x guest.XID
		n, err := strconv.ParseUint(context, 0, 32)
		switch {
		case err == nil && n > uint64(guest.MaxXID):
			r.tell(Finding{Key: "context", Value: context, Fate: Near, To: "xid",
				Why: "is one of the dynamic numbers: the guest gets a number of its own at its first start and keeps it"})
		case x.UnmarshalText([]byte(context)) != nil:
			r.tell(Finding{Key: "context", Value: context, Fate: Wrong, Why: plain(x.UnmarshalText([]byte(context)))})
		default:
			r.set(Finding{Key: "context", Value: context, To: "xid"}, func(s *guest.Spec) { s.XID = x })
		}
	}
	for _, key := range []string{"ncontext", "tag"} {
		value, ok := r.line(key)
		if !ok {
			continue
		}
		f := Finding{Key: key, Value: value, Fate: Passed, Why: "is the guest's number"}
		if value != context {
			f.Fate = Near
			f.Why = "a guest has one number for its processes, its network and its files, that of xid"
		}
		r.tell(f)
	}
}

// uts reads the names that the kernel tells.
func (r *reader) uts() {
	for _, name := range r.below("uts") {
		key := "uts/" + name
		value, ok := r.line(key)
		if !ok {
			continue
		}
		switch name {
		case "nodename":
			r.set(Finding{Key: key, Value: value, To: "hostname"}, func(s *guest.Spec) { s.Hostname = value })
		case "domainname":
			r.set(Finding{Key: key, Value: value, To: "rights.sysctls"}, func(s *guest.Spec) {
				s.Rights.Sysctls = with(s.Rights.Sysctls, "kernel.domainname", value)
			})
		case "sysname", "release", "version", "machine":
			r.tell(Finding{Key: key, Value: value, Fate: Refused, Why: "one kernel has one " + name,
				Instead: "setarch(8) inside, as setarch --uname-2.6 or setarch i686, for the programs that need it"})
		case "context":
			r.tell(Finding{Key: key, Value: value, Fate: Passed, Why: "is the path of the configuration, which nobody reads"})
		}
	}
}

// priorities reads how the guest stands beside others.
func (r *reader) priorities() {
	integer := func(key, to string, put func(*guest.Spec, int)) {
		value, ok := r.line(key)
		if !ok {
			return
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			r.tell(Finding{Key: key, Value: value, Fate: Wrong, Why: "want a number"})
			return
		}
		r.set(Finding{Key: key, Value: value, To: to}, func(s *guest.Spec) { put(s, n) })
	}
	integer("nice", "limits.nice", func(s *guest.Spec, n int) { s.Limits.Nice = n })
	integer("badness", "limits.oom_score_adj", func(s *guest.Spec, n int) { s.Limits.OOMScoreAdj = n })
	class, ok := r.line("ionice/class")
	priority, leveled := r.line("ionice/priority")
	if !ok && !leveled {
		return
	}
	names := map[string]string{"": "best-effort", "1": "realtime", "2": "best-effort", "3": "idle"}
	text := names[class]
	if leveled && text != "idle" {
		text += ":" + priority
	}
	var p guest.IOPrio
	err := p.UnmarshalText([]byte(text))
	for key, value := range map[string]string{"ionice/class": class, "ionice/priority": priority} {
		switch {
		case !r.has(key):
		case err != nil:
			r.tell(Finding{Key: key, Value: value, Fate: Wrong, Why: plain(err)})
		default:
			r.set(Finding{Key: key, Value: value, To: "limits.ionice"}, func(s *guest.Spec) { s.Limits.IONice = p })
		}
	}
}

// personality reads the execution domain.
func (r *reader) personality() {
	lines, ok := r.lines("personality")
	if !ok {
		return
	}
	f := Finding{Key: "personality", Value: strings.Join(lines, " "), To: "rights.personality"}
	r.set(f, func(s *guest.Spec) {
		s.Rights.Personality = nil
		for _, word := range strings.FieldsFunc(strings.ToLower(strings.Join(lines, " ")), func(c rune) bool { return c == ',' || c == ' ' }) {
			word = strings.TrimPrefix(word, "per_")
			if word == "linux_32bit" {
				word = "addr_limit_32bit" // which is all it is
			}
			s.Rights.Personality = add(s.Rights.Personality, word)
		}
	})
}
