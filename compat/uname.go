package compat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/kernel/ns"
	"vserver/kernel/pidfd"
	"vserver/kernel/proc"
)

// utsNames are the names of a context, in the order in which vuname prints them.
func utsNames() []string {
	return []string{"context", "sysname", "nodename", "release", "version", "machine", "domainname"}
}

func newVuname(c *call) run {
	xid := c.flags.String("xid", "", "context `X`: its number, the name of a guest, or self")
	set := c.flags.BoolP("set", "s", false, "set the values of -t")
	c.flags.BoolP("get", "g", false, "print, which is the default")
	tags := c.flags.StringArrayP("tag", "t", nil, "`TAG=VALUE` to set (repeatable)")
	dir := c.flags.String("dir", "", "set what files of `DIR` say that have the name of a tag")
	missing := c.flags.Bool("missingok", false, "no complaint when DIR is not there")
	return func(words []string) error {
		if *xid == "" {
			return usagef("no context specified: --xid")
		}
		s, err := c.subject(*xid)
		if err != nil {
			return err
		}
		defer s.close()
		if *dir == "" && !*set {
			return c.names(s, words)
		}
		values := *tags
		if *dir != "" {
			if values, err = namesIn(*dir, *missing); err != nil {
				return err
			}
		}
		for _, v := range values {
			if err := c.rename(s, v); err != nil {
				return err
			}
		}
		return become(words)
	}
}

// names prints those that are asked for, or all; ??? for one that is not known.
func (c *call) names(s subject, asked []string) error {
	if len(asked) == 0 {
		asked = utsNames()
	}
	values := make([]string, len(asked))
	for i, name := range asked {
		if !slices.Contains(utsNames(), strings.ToLower(name)) {
			return usagef("tag '%s' not recognized", name)
		}
		value, err := c.uts(s, strings.ToLower(name))
		if err != nil {
			value = "???"
		}
		values[i] = fault.Plain(value) // the guest's root may have chosen it
	}
	_, err := fmt.Fprintln(c.out, strings.Join(values, " "))
	return err
}

// uts gives one name of a context.
func (c *call) uts(s subject, name string) (string, error) {
	switch name {
	case "nodename", "domainname":
		var text string
		err := c.inUTS(s, func() (err error) {
			text, err = proc.Sysctl(utsKey(name))
			return err
		})
		return text, err
	case "context":
		if s.guest == "" {
			return "", errors.ErrUnsupported
		}
		return filepath.Join(c.host.Dirs.Config, string(s.guest)), nil
	}
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	return map[string]string{"sysname": text(u.Sysname), "release": text(u.Release), "version": text(u.Version), "machine": text(u.Machine)}[name], nil
}

// text is a string of the kernel's.
func text[T int8 | uint8](field [65]T) string {
	var b []byte
	for _, c := range field {
		if c == 0 {
			break
		}
		b = append(b, byte(c))
	}
	return string(b)
}

// utsKey is the setting of the kernel that is a name.
func utsKey(name string) string {
	if name == "nodename" {
		return "kernel.hostname"
	}
	return "kernel.domainname"
}

// inUTS calls do where the names are the subject's.
func (c *call) inUTS(s subject, do func() error) error {
	if s.self || s.guest == "" && s.alone == nil {
		return do()
	}
	pid, err := c.first(s)
	if err != nil {
		return err
	}
	return inUTSOf(pid, do)
}

// inUTSOf calls do where the names are those that a process sees.
func inUTSOf(pid int, do func() error) error {
	fd, err := pidfd.Open(pid)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return ns.Inside(fd, syscall.CLONE_NEWUTS, do)
}

// rename sets one name, until the context ends.
func (c *call) rename(s subject, word string) error {
	name, value, _ := strings.Cut(word, "=")
	name = strings.ToLower(name)
	switch {
	case !slices.Contains(utsNames(), name):
		return usagef("tag '%s' not recognized", name)
	case len(value) > 64:
		return usagef("%s: more than 64 bytes", name)
	case name == "context":
		return lacking("context: a guest's name is that of its spec", "`vserver OLD rename NEW`")
	case name != "nodename" && name != "domainname":
		return lacking(name+": the kernel tells all the same", "`setarch --uname-2.6 -- COMMAND` for the release")
	}
	return c.inUTS(s, func() error { return proc.SetSysctl(utsKey(name), value) })
}

// namesIn gives what the files of a directory say, as -t has it.
func namesIn(dir string, missing bool) (values []string, err error) {
	if _, err := os.Stat(dir); err != nil {
		if missing && errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	for _, name := range utsNames() {
		value, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		values = append(values, name+"="+strings.TrimRight(string(value), "\n"))
	}
	return values, nil
}
