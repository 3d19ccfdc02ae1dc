package compat

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/host"
	"vserver/kernel/file"
	"vserver/kernel/mount"
)

// mounting are the options of secure-mount and vmount.
type mounting struct {
	fstype, options          string
	bind, rbind, move, quiet bool
	all                      bool
}

func (m *mounting) flags(c *call, all string) {
	f := c.flags
	f.StringVarP(&m.fstype, "types", "t", "", "the `TYPE` of the file system")
	f.StringVarP(&m.options, "options", "o", "", "the `OPTIONS` of mount(8)")
	f.BoolVar(&m.bind, "bind", false, "a directory or file of the host's")
	f.BoolVar(&m.rbind, "rbind", false, "with what is mounted below")
	f.BoolVar(&m.move, "move", false, "take the mount from where it is")
	f.BoolVarP(&m.all, "all", "a", false, all)
	f.BoolVarP(&m.quiet, "no-mtab", "n", false, "do not write it down")
}

// entry is one mount as a line of fstab(5).
func (m mounting) entry(source, target string) guest.Mount {
	e := guest.Mount{Source: source, Target: target, Type: m.fstype, Options: m.options}
	if m.rbind {
		e.Options = strings.Trim(e.Options+",rbind", ",")
	}
	if m.bind || m.rbind || e.Has("bind") || e.Has("rbind") || e.Type == "none" || e.Type == "" && strings.HasPrefix(source, "/") {
		e.Type = guest.MountBind
	}
	return e
}

// newVmount mounts in guests that run.
func newVmount(c *call) run {
	var m mounting
	m.flags(c, "what the guest's spec has and is not mounted")
	return func(words []string) error {
		// The guests stand in front of --, the options behind it.
		names := words
		for i, w := range words {
			if w == "--" || strings.HasPrefix(w, "-") {
				names, words = words[:i], words[i:]
				break
			}
		}
		if len(words) > 0 && words[0] == "--" {
			words = words[1:]
		}
		if err := c.flags.Parse(words); err != nil {
			return usage{err}
		}
		words = c.flags.Args()
		switch {
		case len(names) == 0:
			return usagef("want NAME... -- [OPTION...] SOURCE [DESTINATION]")
		case m.all == (len(words) > 0), m.move && len(words) != 2:
			return usagef("want SOURCE and DESTINATION, or -a")
		}
		failed := false
		for _, name := range names {
			for _, err := range m.inGuest(c.host, name, words) {
				c.report(err)
				failed = true
			}
		}
		if failed {
			return code(c.failed)
		}
		return nil
	}
}

// inGuest does it in one guest. What fails of all that its spec has does not keep the rest
// from being mounted.
func (m mounting) inGuest(h *host.Host, name string, words []string) (failed []error) {
	n, err := host.Find(h, name)
	list := []guest.Mount(nil)
	switch {
	case err != nil:
	case m.move:
		err = host.MoveMount(h, n, words[0], words[1])
	case m.all:
		list, err = host.Unmounted(h, n)
	default:
		list = append(list, m.entry(words[0], words[len(words)-1]))
	}
	if err != nil {
		return []error{err}
	}
	for _, e := range list {
		if err := host.Mount(h, n, e); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// newSecureMount mounts below the working directory, as if that were the root.
func newSecureMount(c *call) run {
	var m mounting
	m.flags(c, "all of the file --fstab")
	mtab := c.flags.String("mtab", "", "append what was mounted to the `FILE` there")
	fstab := c.flags.String("fstab", "", "for -a: the `FILE` of the host's that says what to mount")
	root := c.flags.String("rootfs", "no", "for -a: `yes|no|only` the line of the root")
	c.flags.Bool("chroot", false, "the destination is below the working directory, as always")
	c.flags.Bool("trigger-automount", false, "accepted: opening a directory does it")
	return func(words []string) error {
		var list []guest.Mount
		switch {
		case m.all && *fstab == "":
			return usagef("-a: want --fstab FILE")
		case m.all:
			var err error
			if list, err = fstabOf(*fstab, *root); err != nil {
				return err
			}
		case len(words) == 2:
			list = []guest.Mount{m.entry(words[0], words[1])}
		default:
			return usagef("want SOURCE and DESTINATION")
		}
		failed := false
		for _, e := range list {
			err := m.mount(e)
			if err == nil && *mtab != "" && !m.quiet {
				err = note(*mtab, e)
			}
			if err != nil {
				c.report(err)
				failed = true
			}
		}
		if failed {
			return code(c.failed)
		}
		return nil
	}
}

// fstabOf reads the lines of a file that are to be mounted.
func fstabOf(path, root string) (list []guest.Mount, err error) {
	text, err := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		e, err := guest.ParseMount(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		isRoot := e.Target == "/"
		if e.Has("noauto") || e.Type == "swap" || isRoot != (root == "only") && (isRoot && root == "no" || !isRoot) {
			continue
		}
		m := mounting{fstype: e.Type, options: e.Options}
		if e.Type == guest.MountVolume { // a file system without a device
			m.fstype = e.Source
		}
		list = append(list, m.entry(e.Source, e.Target))
	}
	return list, err
}

// mount makes one mount and attaches it.
func (m mounting) mount(e guest.Mount) error {
	at, err := file.Inside(e.Target)
	if err != nil {
		return err
	}
	defer at.Close()
	fd, err := m.make(e)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return mount.AttachTo(fd, at)
}

// make makes the mount, attached nowhere. There are no devices on it unless it says dev.
func (m mounting) make(e guest.Mount) (fd int, err error) {
	attr, own := uint64(mount.NoDev), []string{}
	if e.Type == "devpts" {
		attr = 0
	}
	for o := range strings.SplitSeq(e.Options, ",") {
		switch o {
		case "ro":
			attr |= mount.ReadOnly
		case "nosuid":
			attr |= mount.NoSuid
		case "noexec":
			attr |= mount.NoExec
		case "noatime":
			attr |= mount.NoAtime
		case "dev":
			attr &^= mount.NoDev
		case "remount":
			return -1, lacking("remount: is done where the mount is", "`mount -o remount,OPTIONS DESTINATION`")
		case "", "rw", "suid", "exec", "atime", "nodev", "bind", "rbind", "defaults", "auto", "noauto", "user", "nouser", "users", "async", "nomtab", "_netdev":
		default:
			own = append(own, o)
		}
	}
	switch {
	case m.move:
		return mount.There(e.Source)
	case e.Type == guest.MountBind && e.Has("rbind"):
		fd, err = mount.CloneAll(e.Source)
	case e.Type == guest.MountBind:
		fd, err = mount.Clone(e.Source)
	case strings.HasPrefix(e.Source, "/"):
		return mount.Disk(e.Type, e.Source, int(attr), own...)
	default:
		return mount.New(e.Type, int(attr), own...)
	}
	if err != nil {
		return -1, err
	}
	if err := mount.SetAttr(fd, attr, -1); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// note appends a line to an mtab that is there.
func note(path string, e guest.Mount) error {
	at, err := file.Inside(path)
	if err != nil {
		return err
	}
	defer at.Close()
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", at.Fd()), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	options := e.Options
	if options == "" {
		options = "defaults"
	}
	_, err = fmt.Fprintf(f, "%s %s %s %s 0 0\n", e.Source, e.Target, e.Type, options)
	return err
}

// newSecureUmount takes away what is mounted below the working directory.
func newSecureUmount(c *call) run {
	c.flags.BoolP("lazy", "l", false, "accepted: always so")
	c.flags.BoolP("no-mtab", "n", false, "accepted: always so")
	return func(words []string) error {
		if len(words) == 0 {
			return usagef("which directory?")
		}
		for _, w := range words {
			at, err := file.Inside(w)
			if err != nil {
				return err
			}
			err = os.NewSyscallError("unmount "+w, syscall.Unmount(fmt.Sprintf("/proc/self/fd/%d", at.Fd()), syscall.MNT_DETACH))
			at.Close()
			if err != nil {
				return err
			}
		}
		return nil
	}
}
