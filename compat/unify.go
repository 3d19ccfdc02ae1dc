package compat

import (
	"context"
	"errors"
	"path/filepath"

	"vserver/guest"
	"vserver/host"
)

// newVcopy makes a guest that has all of another's files, unified: a clone.
func newVcopy(c *call) run {
	dry := c.flags.BoolP("dry-run", "n", false, "tell whether it can be done, and do nothing")
	c.flags.CountP("verbose", "v", "accepted: a clone shares all files")
	manually := c.flags.Bool("manually", false, "not supported: paths")
	strict := c.flags.Bool("strict", false, "the new guest has its settings already, and a plain root that is empty")
	c.flags.BoolP("one-file-system", "x", false, "accepted: a guest's own files are on one")
	return func(words []string) error {
		switch {
		case *manually:
			return lacking("--manually: files lie in layers, not in trees of their own", "`vserver NEW build -m rsync -- --source DIRECTORY`")
		case len(words) != 2:
			return usagef("want the new guest and the one to copy")
		case *strict:
			return c.fill(words[1], words[0], *dry)
		}
		return c.cloneTo(words[1], words[0], *dry, nil)
	}
}

// fill gives a guest that has settings the files of another.
func (c *call) fill(from, to string, dry bool) error {
	old, err1 := guest.ParseName(from)
	n, err2 := guest.ParseName(to)
	if err := errors.Join(err1, err2); err != nil {
		return usage{err}
	}
	if dry {
		_, err1 = c.host.Load(old)
		_, err2 = c.host.Load(n)
		return errors.Join(err1, err2)
	}
	return host.FillRoot(context.Background(), c.host, old, n)
}

// newVclone makes a guest like another. The old tool wanted the path of the tree.
func newVclone(c *call) run {
	c.flags.CountP("verbose", "v", "accepted: a clone shares all files")
	xid := c.flags.String("xid", "", "number `X` of the new guest")
	left := c.flags.StringP("exclude-from", "X", "", "`FILE` with an exclude list: what the new guest does not get")
	return func(words []string) error {
		if len(words) != 2 {
			return usagef("want the guest to clone and the place of the new one")
		}
		to := words[1]
		if filepath.IsAbs(to) {
			to = filepath.Clean(to)
			if in := filepath.Dir(to); in != "/vservers" && in != filepath.Clean(c.host.Dirs.Data) {
				return lacking(to+": files lie in layers, not in trees of their own", "`vclone OLD NEW` makes a guest of that name")
			}
			to = filepath.Base(to)
		}
		var more []string
		if *xid != "" {
			more = []string{"--xid", *xid}
		}
		if *left != "" {
			more = append(more, "--exclude-from", *left)
		}
		return c.cloneTo(words[0], to, false, more)
	}
}

// cloneTo goes on as `vserver OLD clone NEW`.
func (c *call) cloneTo(from, to string, dry bool, more []string) error {
	if !dry {
		return executeSelf(append([]string{"vserver", "clone", from, to}, more...))
	}
	n, err := guest.ParseName(to)
	if err != nil {
		return usage{err}
	}
	if host.Exists(c.host, n) {
		return guest.ErrExists
	}
	_, err = c.host.Load(guest.Name(from))
	return err
}
