package compat

import (
	"fmt"

	"vserver/kernel/file"
)

// newSetattr sets attributes of files: of those that Linux-VServer had, immutable is one of
// stock kernels.
func newSetattr(c *call) run {
	var t tags
	t.options(c)
	immutable, lacks := "", ""
	for _, name := range []string{"immutable", "barrier", "iunlink", "immu", "iunlink-but-not-immutable", "ixunlink", "admin", "watch", "hide", "write", "cow"} {
		for _, mark := range []string{"", "~", "!"} {
			c.flags.VarPF(&noted{func(string) error {
				switch name {
				case "immutable":
					immutable = mark + name
				case "barrier": // a guest's root cannot be left by chroot
				default:
					lacks = mark + name
				}
				return nil
			}}, mark+name, "", "").NoOptDefVal = "true"
			if f := c.flags.Lookup(mark + name); name != "immutable" {
				f.Hidden = true
			} else if f.Usage = "nobody may change or remove the file"; mark != "" {
				f.Usage = "everybody with the right may"
			}
		}
	}
	for _, name := range []string{"flags", "~flags"} {
		c.flags.Var(&noted{func(string) error { lacks = name; return nil }}, name, "")
		c.flags.Lookup(name).Hidden = true
	}
	return func(files []string) error {
		switch {
		case lacks != "":
			return lacking("--"+lacks+": no attribute of a stock kernel", "`setattr --immutable`; images beneath guests cannot be changed by them")
		case len(files) == 0:
			return usagef("no filename given")
		}
		t.self, t.all = !t.recursive, true
		if immutable == "" {
			return c.each(t, files, func(string) error { return nil })
		}
		return c.each(t, files, func(path string) error {
			f, err := open(path)
			if err != nil || f == nil {
				return err
			}
			defer f.Close()
			return file.SetImmutable(f, immutable == "immutable")
		})
	}
}

// newShowattr shows them: a letter for each attribute of Linux-VServer, of which I is
// told, and in small where it is not set; the others are not there.
func newShowattr(c *call) run {
	var t tags
	t.options(c)
	c.flags.BoolVarP(&t.all, "all", "a", false, "hidden files as well")
	c.flags.BoolVarP(&t.self, "directory", "d", false, "directories themselves, not what is in them")
	return func(files []string) error {
		if len(files) == 0 {
			files = []string{"."}
		}
		return c.each(t, files, func(path string) error {
			word := "---------"
			f, err := open(path)
			if err == nil && f != nil {
				var on bool
				on, err = file.Immutable(f)
				f.Close()
				word = "------i--"
				if on {
					word = "------I--"
				}
			}
			if err != nil {
				word = "ERR      "
			}
			fmt.Fprintf(c.out, "%s  %s\n", word, c.shown(path))
			return err
		})
	}
}
