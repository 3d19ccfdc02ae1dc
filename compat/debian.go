package compat

import (
	"path/filepath"

	"github.com/spf13/pflag"
)

// debian are the options that Debian's own two tools had (package vserver-debiantools), which
// stood in front of build.
type debian struct {
	hostname, domain, ip, dev, root string
	dist, mirror, arch, context     string
	from, to                        string
}

// common defines those that both have.
func (o *debian) common(fl *pflag.FlagSet) {
	fl.StringVar(&o.ip, "ip", "", "`ADDRESS` of the guest, with /LENGTH")
	fl.StringVar(&o.dev, "interface", "eth0", "`DEVICE` that gets the address")
	fl.StringVar(&o.context, "context", "", "number `N` of the guest")
	fl.StringVar(&o.root, "vsroot", "", "`DIRECTORY` of the guests: the one there is")
}

// build goes on as `vserver NAME build`.
func (c *call) build(o *debian, name, hostname, method string, more ...string) error {
	if root := filepath.Clean(o.root); o.root != "" && root != "/vservers" && root != filepath.Clean(c.host.Dirs.Data) {
		return lacking("--vsroot "+o.root+": guests' files are in one place", "a mount or a link at "+c.host.Dirs.Data)
	}
	argv := []string{"vserver", name, "build", "-m", method, "--hostname", hostname, "--interface", o.dev + ":" + o.ip}
	if o.context != "" {
		argv = append(argv, "--context", o.context)
	}
	return executeSelf(append(append(argv, "--"), more...))
}

// newNewvserver makes a guest of Debian.
func newNewvserver(c *call) run {
	o := &debian{}
	fl := c.flags
	fl.StringVar(&o.hostname, "hostname", "", "`NAME` of the guest")
	fl.StringVar(&o.domain, "domain", "", "`DOMAIN` of its host name")
	fl.StringVar(&o.dist, "dist", "", "`SUITE` of Debian, as bookworm")
	fl.StringVar(&o.mirror, "mirror", "", "`URL` of the packages")
	fl.StringVar(&o.arch, "arch", "", "`ARCHITECTURE`, this machine's")
	o.common(fl)
	return func(words []string) error {
		switch {
		case o.hostname == "" || o.domain == "" || o.ip == "" || len(words) > 0:
			return usagef("want --hostname, --domain and --ip")
		case o.dist == "":
			return usagef("want --dist SUITE: the one that was meant without it is gone")
		}
		more := []string{"-d", o.dist}
		if o.mirror != "" {
			more = append(more, "-m", o.mirror)
		}
		if o.arch != "" {
			more = append(more, "--", "--arch", o.arch)
		}
		return c.build(o, o.hostname, o.hostname+"."+o.domain, "debootstrap", more...)
	}
}

// newDupvserver makes a guest like another, with an address of its own.
func newDupvserver(c *call) run {
	o := &debian{}
	c.flags.StringVar(&o.from, "from", "", "`NAME` of the guest to copy")
	c.flags.StringVar(&o.to, "to", "", "`NAME` of the new one")
	o.common(c.flags)
	return func(words []string) error {
		if o.from == "" || o.to == "" || o.ip == "" || len(words) > 0 {
			return usagef("want --from, --to and --ip")
		}
		return c.build(o, o.to, o.to, "clone", "--source", o.from)
	}
}
