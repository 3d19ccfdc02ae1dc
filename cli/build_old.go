package cli

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/store/legacy"
)

// oldBuild are the options of Linux-VServer's build that are settings here.
type oldBuild struct {
	interfaces               []string // [NAME=][DEV:]ADDRESS[/LENGTH|/MASK]
	dev, mask, length, bcast string   // of those that say none
	cflags                   []string
	cpus, mems               string
	virtCPU, force           bool
	style                    string // of the init
	lock                     string // taken: each guest has a lock
	script                   string // of debootstrap
	left                     string // exclude list of what the guest does not get
	asked                    *pflag.FlagSet
}

// flags adds them, and the old names of other flags. None is shown: who knows them knows
// what they are.
func (o *oldBuild) flags(fl *pflag.FlagSet) {
	o.asked = fl
	goneFlags(fl)
	fl.Var(fl.Lookup("xid").Value, "context", "")
	fl.StringVar(&o.style, "initstyle", "", "")
	fl.StringArrayVar(&o.interfaces, "interface", nil, "")
	fl.StringVar(&o.dev, "netdev", "", "")
	fl.StringVar(&o.mask, "netmask", "", "")
	fl.StringVar(&o.length, "netprefix", "", "")
	fl.StringVar(&o.bcast, "netbcast", "", "")
	fl.StringSliceVar(&o.cflags, "flags", nil, "")
	fl.StringVar(&o.cpus, "cpusetcpus", "", "")
	fl.StringVar(&o.mems, "cpusetmems", "", "")
	fl.BoolVar(&o.virtCPU, "cpusetvirt", false, "")
	fl.BoolVar(&o.force, "force", false, "")
	fl.StringVar(&o.lock, "lockfile", "", "")
	fl.Bool("debug", false, "")
	for _, name := range []string{"context", "initstyle", "interface", "netdev", "netmask", "netprefix", "netbcast", "flags", "cpusetcpus",
		"cpusetmems", "cpusetvirt", "force", "lockfile", "debug"} {
		fl.Lookup(name).Hidden = true
	}
}

// settle makes settings of them.
func (o *oldBuild) settle(w *wishes) error {
	for _, text := range o.interfaces {
		line, err := o.address(text)
		if err != nil {
			return err
		}
		w.sets = append(w.sets, "network.addresses+="+line)
	}
	for _, word := range o.cflags {
		if _, err := guest.FindFlag(guest.BareWord(word)); err != nil {
			return usagef("--flags: %v", err)
		}
		if key, word, ok := flagSetting(word); ok {
			w.sets = append(w.sets, key+"+="+word)
		}
	}
	for key, value := range map[string]string{"limits.cpuset": o.cpus, "limits.mems": o.mems} {
		if value, _, _ = strings.Cut(value, ":"); value != "" { // no set excludes others from its processors
			w.sets = append(w.sets, key+"="+value)
		}
	}
	w.sets = append(w.sets, initSettings(o.style)...)
	if o.virtCPU {
		w.sets = append(w.sets, "view.flags+=virt_cpu")
	}
	return nil
}

// initSettings are the settings by which a guest has an init style of old.
func initSettings(style string) []string {
	if style == "" {
		return nil
	}
	init, known := legacy.Style(style, "", "")
	switch {
	case known && init.RunlevelStop != "":
		return []string{"init.style=" + style, "init.runlevel=" + init.Runlevel, "init.runlevel_stop=" + init.RunlevelStop}
	case !known || len(init.Command) == 0:
		return []string{"init.style=" + style}
	}
	sets := []string{"init.style=" + string(init.Style), "init.command=" + flow(init.Command)}
	if len(init.StopCommand) > 0 {
		sets = append(sets, "init.stop_command="+flow(init.StopCommand))
	}
	if init.StopSignal != 0 {
		sets = append(sets, "init.stop_signal="+init.StopSignal.String())
	}
	return sets
}

// flow is a list as a setting's value is written.
func flow(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// flagSetting is the setting by which a guest gets a flag of old; not ok for what every
// guest has.
func flagSetting(word string) (key, as string, ok bool) {
	as = strings.Replace(word, "~", "!", 1)
	right, _ := guest.FindFlag(guest.BareWord(word))
	switch {
	case right.Name == "secure" || right.Name == "hide_netif":
		return "network.flags", strings.Replace(as, "secure", "hide_netif", 1), true
	case right.Honour == guest.Always || right.Honour == guest.Passed, right.Name == "sched_hard", right.Name == "sched_prio": // as --cpus says
		return "", "", false
	}
	return guest.RightKey(guest.Flags(), word, "rights.flags"), as, true
}

// address reads an --interface and gives it as an address of a spec.
func (o *oldBuild) address(text string) (string, error) {
	label, rest, named := strings.Cut(text, "=")
	if !named {
		label, rest = "", text
	}
	dev := o.dev
	if d, a, ok := strings.Cut(rest, ":"); ok && !strings.Contains(d, "/") {
		// What is an address as a whole has no device in front of it.
		whole, _, _ := strings.Cut(rest, "/")
		if _, err := netip.ParseAddr(whole); err != nil {
			dev, rest = d, a
		}
	}
	ip, length, sized := strings.Cut(rest, "/")
	if !sized {
		length = o.length
		if length == "" {
			length = o.mask
		}
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return "", usagef("--interface %s: want [NAME=][DEVICE:]ADDRESS/LENGTH", text)
	}
	n, err := prefixLength(addr, length)
	if err != nil {
		return "", usagef("--interface %s: %v", text, err)
	}
	line := fmt.Sprintf("%s/%d", addr, n)
	switch {
	case dev == "nodev":
		line += " nodev"
	case dev != "":
		line += " dev " + dev
		if o.bcast != "" && addr.Is4() {
			line += " broadcast " + o.bcast
		}
		if label != "" && addr.Is4() {
			line += " name " + label
		}
	}
	return line, nil
}

// prefixLength reads a length or a mask; nothing is a whole address.
func prefixLength(addr netip.Addr, text string) (int, error) {
	if text == "" {
		return addr.BitLen(), nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= addr.BitLen() {
		return n, nil
	}
	if mask, err := netip.ParseAddr(text); err == nil && mask.BitLen() == addr.BitLen() {
		if ones, bits := net.IPMask(mask.AsSlice()).Size(); bits > 0 {
			return ones, nil
		}
	}
	return 0, fmt.Errorf("%s: want the length of a prefix, or a mask", text)
}

// methodOptions reads the options of a method behind "--", as Linux-VServer has them. A
// distribution is a matter of debootstrap alone; packages are the guest's own business.
func (f *buildFlags) methodOptions(words []string) error {
	if len(words) == 0 {
		return nil
	}
	var dist string
	var more []string
	if i := slices.Index(words, "--"); i >= 0 {
		words, more = words[:i], words[i+1:]
	}
	if isRPM(f.method) {
		if err := f.rpm.options(words); err != nil || f.method == "yum" && len(f.rpm.manifests) > 0 {
			return usageHint("vserver build --help", "%s: not an option of a method", strings.Join(words, " "))
		}
		f.packages = append(f.packages, more...)
		return nil
	}
	fl := pflag.NewFlagSet("", pflag.ContinueOnError)
	fl.StringVarP(&dist, "dist", "d", "", "")
	fl.StringVarP(&f.mirror, "mirror", "m", f.mirror, "")
	fl.StringVarP(&f.template, "template", "t", f.template, "")
	if f.method == "debootstrap" {
		fl.StringVarP(&f.old.script, "script", "s", "", "")
	} else {
		fl.StringVarP(&f.from, "source", "s", f.from, "")
	}
	fl.StringVarP(&f.old.left, "exclude-from", "X", "", "")
	fl.Bool("pkgmgmt", false, "")
	fl.Bool("nodevsanity", false, "")
	if err := fl.Parse(words); err != nil || fl.NArg() > 0 && f.method != "skeleton" {
		return usageHint("vserver build --help", "%s: not an option of a method", strings.Join(words, " "))
	}
	if dist != "" && (f.method == "debootstrap" || f.method == "") {
		f.debian = dist
	}
	return f.further(more)
}

// further reads debootstrap's own options behind a second "--".
func (f *buildFlags) further(words []string) error {
	fl := pflag.NewFlagSet("", pflag.ContinueOnError)
	var include []string
	fl.StringVar(&f.variant, "variant", f.variant, "")
	fl.StringSliceVar(&include, "include", nil, "")
	arch := fl.String("arch", debianArch(), "")
	for _, always := range []string{"resolve-deps", "verbose", "keep-debootstrap-dir"} {
		fl.Bool(always, false, "")
	}
	if err := fl.Parse(words); err != nil || fl.NArg() > 0 || len(words) > 0 && f.method != "debootstrap" {
		return usageHint("vserver build --help", "%s: --variant, --include and --arch are what debootstrap is passed on", strings.Join(words, " "))
	}
	if *arch != debianArch() {
		return coded{fault.Hint(fmt.Errorf("--arch %s: guests are made for this machine, %s", *arch, debianArch()),
			"`debootstrap --arch "+*arch+" SUITE DIRECTORY`, then -m rsync -- --source DIRECTORY"), exitUnsupported}
	}
	f.packages = append(f.packages, include...)
	return nil
}

// aside renames a guest that has the name of one to be built; back undoes it when the
// build has failed.
func (t *tool) aside(ctx context.Context, force bool, n guest.Name) (back func(error) error, err error) {
	nothing := func(error) error { return nil }
	if !force || !host.Exists(t.host, n) {
		return nothing, nil
	}
	other, err := guest.ParseName(fmt.Sprintf("%s.%d", n, time.Now().Unix()))
	if err != nil {
		return nothing, err
	}
	if err := t.host.Rename(ctx, n, other); err != nil {
		return nothing, err
	}
	t.warn(n, "is "+string(other)+" now")
	return func(failed error) error {
		if failed == nil || host.Exists(t.host, n) {
			return nil
		}
		return t.host.Rename(context.WithoutCancel(ctx), other, n)
	}, nil
}
