package compat

import (
	"fmt"
	"strconv"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/store"
)

func newVdlimit(c *call) run {
	xid := c.flags.StringP("xid", "x", "", "guest `X`: its name or number")
	set := c.flags.StringArrayP("set", "s", nil, "`KEY=VALUE` with space_total in KiB, or inodes_total; -1 is no limit (repeatable)")
	remove := c.flags.BoolP("remove", "d", false, "no limits")
	c.flags.StringP("flags", "f", "", "accepted: there was one, for tags")
	return func(places []string) error {
		switch {
		case *remove && len(*set) > 0:
			return usagef("either --set or --remove")
		case *xid == "":
			return usagef("which context? want --xid")
		case len(places) == 0:
			return usagef("which mount point?")
		}
		s, err := c.subject(*xid)
		if err != nil {
			return err
		}
		defer s.close()
		if s.guest == "" {
			return lacking("a context without a guest has no files of its own", "a guest's limits.disk")
		}
		changes := []string{"limits.disk=", "limits.inodes="}
		if !*remove {
			if changes, err = c.diskChanges(*set); err != nil {
				return err
			}
		}
		if len(changes) == 0 && len(*set) == 0 {
			return c.showDisk(s, places)
		}
		if len(changes) == 0 {
			return nil
		}
		if store.Old(c.host.Dirs.Spec(s.guest)) { // dlimits/ says what it has from its next start on
			return host.Lend(c.host, s.guest, changes)
		}
		_, err = c.host.Set(s.guest, changes)
		return err
	}
}

// diskChanges gives what is asked in the words of a spec.
func (c *call) diskChanges(set []string) (changes []string, err error) {
	values := map[string]int64{}
	for _, word := range set {
		key, value, ok := strings.Cut(word, "=")
		n, err := strconv.ParseInt(value, 0, 64)
		if !ok || err != nil {
			return nil, usagef("can not parse number in '%s'", word)
		}
		if _, twice := values[key]; twice {
			return nil, usagef("value already set in '%s'", word)
		}
		values[key] = n
		text := ""
		switch key {
		case "space_total":
			if n >= 0 {
				text = (guest.Bytes(n) << 10).String()
			}
			changes = append(changes, "limits.disk="+text)
		case "inodes_total":
			if n >= 0 {
				text = value
			}
			changes = append(changes, "limits.inodes="+text)
		case "space_used", "inodes_used": // the file system counts
		case "reserved":
			if n != 0 {
				fmt.Fprintf(c.err, "%s: reserved: passed over: no part of a guest's disk is kept for its root\n", c.name)
			}
		default:
			return nil, usagef("unknown limit in '%s'", word)
		}
	}
	for _, what := range []string{"space", "inodes"} {
		used, a := values[what+"_used"]
		total, b := values[what+"_total"]
		if a && b && total >= 0 && used > total {
			return nil, usagef("invalid parameters: '%s_used' is larger than '%s_total'", what, what)
		}
	}
	return changes, nil
}

// showDisk prints what the guest has, and may have. It is the same at each place: a guest
// has one set of files.
func (c *call) showDisk(s subject, places []string) error {
	st, err := c.host.Status(s.guest)
	if err != nil {
		return err
	}
	if st.Disk == nil {
		return fault.Hint(fmt.Errorf("%s: nothing counts its files: %w", s.guest, guest.ErrUnsupported), "files that were copied here are counted after `vserver "+string(s.guest)+" quota adopt`; doc/limits.md tells which file systems can")
	}
	total := func(n int64) int64 {
		if n == 0 {
			return -1
		}
		return n
	}
	d := st.Disk
	for _, p := range places {
		fmt.Fprintf(c.out, "%d %s\nspace_used=%d\nspace_total=%d\ninodes_used=%d\ninodes_total=%d\nreserved=0\n", s.xid, p,
			int64(d.Used)>>10, total(int64(d.Limit)>>10), int64(d.Inodes), total(int64(d.Most)))
	}
	return nil
}
