package compat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/store"
)

// newVdevmap gives a guest a device of the host's, or takes it, as its spec says from then
// on.
func newVdevmap(c *call) run {
	set := c.flags.Bool("set", false, "allow the device")
	unset := c.flags.Bool("unset", false, "allow it no more")
	xid := c.flags.String("xid", "", "`X`, the number or name of a guest")
	open := c.flags.Bool("open", false, "it may be opened")
	create := c.flags.Bool("create", false, "nodes of it may be made")
	device := c.flags.String("device", "", "the `DEVICE`, a path below /dev")
	remap := c.flags.Bool("remap", false, "not supported: another device in its place")
	target := c.flags.String("target", "", "not supported: that other `DEVICE`")
	c.flags.String("flags", "", "not supported: a mask `N` of the old kernel's")
	return func(words []string) error {
		switch {
		case *remap || *target != "":
			return lacking("--remap: a device is not shown as another", "`vserver edit NAME`: mounts, the other device's node bound over it")
		case c.flags.Changed("flags"):
			return lacking("--flags: masks of another kernel", "--open and --create")
		case *set == *unset || *xid == "" || len(words) > 0:
			return usagef("want --xid X and --set or --unset")
		case *device == "":
			return lacking("a rule for all other devices: nothing but what is named is allowed", "--device DEVICE")
		case *set && !*open && !*create:
			return usagef("want --open or --create, or both")
		}
		s, err := c.subject(*xid)
		if err != nil {
			return err
		}
		defer s.close()
		if s.guest == "" {
			return lacking("the devices of a context without a guest are the host's", "--xid of a guest")
		}
		access := map[bool]string{true: "rw"}[*open] + map[bool]string{true: "m"}[*create]
		return c.allow(s.guest, *device, access)
	}
}

// allow writes what a guest may do with a device into its spec; "" takes it out.
func (c *call) allow(n guest.Name, device, access string) error {
	spec, err := c.host.Load(n)
	if err != nil {
		return err
	}
	if path := c.host.Dirs.Spec(n); store.Old(path) {
		if err := new(guest.Device).UnmarshalText([]byte(device)); err != nil {
			return err
		}
		fmt.Fprintf(c.err, "%s: %s: apps/vdevmap: from the next start on\n", c.name, n)
		return store.MapDevice(path, device, strings.Contains(access, "r"), strings.Contains(access, "m"))
	}
	list := slices.DeleteFunc(slices.Clone(spec.Rights.Devices), func(d guest.Device) bool { return d.Path == device })
	words := make([]string, len(list))
	for i, d := range list {
		words[i] = strconv.Quote(d.String())
	}
	if access != "" {
		words = append(words, strconv.Quote(device+" "+access))
	}
	value := ""
	if len(words) > 0 {
		value = "[" + strings.Join(words, ", ") + "]"
	}
	return c.write(n, "rights.devices="+value)
}

// write changes settings of a guest, and says what has to wait for its next start.
func (c *call) write(n guest.Name, changes ...string) error {
	done, err := c.host.Set(n, changes)
	if err == nil && len(done.Restart) > 0 {
		fmt.Fprintf(c.err, "%s: %s: %s: from the next start on\n", c.name, n, strings.Join(done.Restart, ", "))
	}
	return err
}
