package compat

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/kernel/pidfd"
	"vserver/sysctl"
)

func newVsysctl(c *call) run {
	xid := c.flags.String("xid", "", "context `X`: its number, the name of a guest, or self")
	dir := c.flags.String("dir", "", "write what the files `DIR`/*/setting and DIR/*/value say")
	missing := c.flags.Bool("missingok", false, "no complaint when DIR is not there")
	return func(words []string) error {
		if *dir == "" {
			return usagef("which settings? want --dir")
		}
		settings, err := settingsIn(*dir, *missing)
		if err != nil {
			return err
		}
		s, err := c.subject(*xid)
		if err != nil {
			return err
		}
		defer s.close()
		if len(settings) > 0 {
			if err := c.sysctls(s, settings); err != nil {
				return err
			}
		}
		return become(words)
	}
}

// settingsIn gives the values of settings, by their names with dots.
func settingsIn(dir string, missing bool) (map[string]string, error) {
	list := map[string]string{}
	entries, err := os.ReadDir(dir)
	if missing && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		name, err := os.ReadFile(filepath.Join(dir, e.Name(), "setting"))
		if err != nil {
			return nil, err
		}
		value, err := os.ReadFile(filepath.Join(dir, e.Name(), "value"))
		if err != nil {
			return nil, err
		}
		list[strings.ReplaceAll(strings.TrimSpace(string(name)), "/", ".")] = strings.TrimSpace(string(value))
	}
	return list, err
}

// sysctls writes settings that namespaces have for themselves where the subject's are.
func (c *call) sysctls(s subject, settings map[string]string) error {
	for name := range settings {
		if !slices.Contains(guest.Sysctls(), name) {
			return lacking(name+": no namespace has its own", "`sysctl -w` on the host, for all; those of net are a guest's own by rights.sysctls and network.mode: private")
		}
	}
	if s.guest == "" && s.alone == nil {
		return lacking("no context: these would be the host's own", "`sysctl -w`")
	}
	pid, err := c.first(s)
	if err != nil {
		return err
	}
	owner := uint32(0)
	if s.guest != "" {
		spec, err := c.host.Load(s.guest)
		if err != nil {
			return err
		}
		owner = spec.FirstID()
	}
	fd, err := pidfd.Open(pid)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	_, err = sysctl.Give(fd, owner, settings, false)
	return err
}
