package legacy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"vserver/guest"
)

// mounts reads the three tables of what the guest finds below its root.
func (r *reader) mounts() {
	for _, file := range []string{"fstab", "fstab.local", "fstab.remote"} {
		text, ok := r.content(file)
		list := items(text)
		if ok && len(list) == 0 {
			r.tell(Finding{Key: file, Fate: Passed, Why: "is empty"})
		}
		for _, i := range list {
			r.mount(Finding{Key: fmt.Sprintf("%s:%d", file, i.line), Value: i.text, To: "mounts"}, i.text)
		}
	}
}

// Fstab reads a table of mounts that is no guest's.
func Fstab(text string) ([]guest.Mount, Problems) {
	r := &reader{guest: &Guest{}, done: map[string]bool{}}
	for _, i := range items(text) {
		r.mount(Finding{Key: fmt.Sprintf("fstab:%d", i.line), Value: i.text, To: "mounts"}, i.text)
	}
	return r.guest.Spec.Mounts, r.guest.Problems()
}

// mount reads a line of such a table.
func (r *reader) mount(f Finding, line string) {
	m, err := guest.ParseMount(line)
	if err != nil {
		r.wrong(f, plain(err))
		return
	}
	m.Target = path.Clean("/" + m.Target)
	options := strings.FieldsFunc(m.Options, func(c rune) bool { return c == ',' })
	refuse := func(why, instead string) {
		f.Fate, f.To, f.Why, f.Instead = Refused, "", why, instead
		r.tell(f)
	}
	pass := func(why string) {
		f.Fate, f.To, f.Why = Passed, "", why
		r.tell(f)
	}
	bind := slices.ContainsFunc(options, func(o string) bool { return o == "bind" || o == "rbind" || o == "rec" })
	switch {
	case m.Type == "swap" || m.Target == "/swap" && m.Type == "none", slices.Contains(options, "noauto"):
		pass("is not mounted at a start")
	case m.Target == "/":
		refuse("the root is mounted by the host", "the host's /etc/fstab, or mount in a script initialize")
	case slices.Contains([]string{"/proc", "/sys", "/dev", "/dev/pts", "/run"}, m.Target), slices.Contains([]string{"proc", "sysfs", "devpts", "usbfs"}, m.Type):
		pass("every guest has a " + m.Target + " of its own")
	case strings.HasPrefix(m.Target, "/proc/"), strings.HasPrefix(m.Target, "/sys/"):
		refuse("nothing is mounted below /proc and /sys", "what the guest needs of them: view.flags, rights.sysctls")
	case slices.Contains([]string{"nfs", "nfs4", "cifs", "smbfs", "ncpfs", "coda", "afs", "fuse"}, m.Type):
		refuse("file systems of a network are mounted by programs of their own, on the host", "mount it on the host, and bind it: /mnt/data "+m.Target+" none bind 0 0")
	case bind:
		m.Type = guest.MountBind
		r.volume(f, m, options)
	case m.Type == guest.MountTmpfs:
		m.Source = guest.MountTmpfs
		r.volume(f, m, options)
	case !path.IsAbs(m.Source):
		refuse("want the path of a device", "a line with /dev/disk/by-label/NAME or /dev/disk/by-uuid/UUID")
	default:
		r.volume(f, m, options)
	}
}

// volume adds a mount with the options that it can have.
func (r *reader) volume(f Finding, m guest.Mount, options []string) {
	var kept, lost []string
	for _, o := range options {
		switch o {
		case "ro", "nosuid", "noexec", "noatime", "rbind":
			kept = append(kept, o)
		case "rec":
			kept = append(kept, "rbind")
		case "bind", "rw", "suid", "nodev", "exec", "async", "atime", "auto", "nouser", "defaults", "nomtab", "_netdev", "relatime", "private", "slave":
			// so it is
		case "dev":
			lost = append(lost, o)
			f.Instead = "rights.devices"
		case "sync", "dirsync", "mand", "mandlock", "nodiratime", "user", "users", "shared", "unbindable", "remount", "move":
			lost = append(lost, o)
		default:
			if m.Type == guest.MountBind {
				lost = append(lost, o)
			} else {
				kept = append(kept, o)
			}
		}
	}
	f.Fate = Same
	if len(lost) > 0 {
		f.Fate, f.Why = Near, "without "+strings.Join(lost, ", ")
	}
	if m.Type != guest.MountTmpfs {
		// The files have the ids that they always had, and the guest's root is 0 there. A
		// mount that failed was no reason not to start.
		kept = append(kept, "idmap", "nofail")
	}
	m.Options = strings.Join(kept, ",")
	r.set(f, func(s *guest.Spec) {
		s.Mounts = slices.DeleteFunc(slices.Clone(s.Mounts), func(old guest.Mount) bool { return old.Target == m.Target && old.Type == m.Type })
		s.Mounts = append(s.Mounts, m)
	})
}
