package legacy

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"vserver/guest"
)

// scripts reads the programs that run around start and stop.
func (r *reader) scripts() {
	hooks := map[string][]string{}
	for _, point := range Points() {
		at := "scripts/" + point
		if r.has(at) && !r.kinds[at].IsDir() {
			hooks[point] = append(hooks[point], at)
		}
		for _, name := range r.below(at + ".d") {
			if !backup(name) {
				hooks[point] = append(hooks[point], at+".d/"+name)
			}
		}
	}
	for _, point := range Points() {
		for _, key := range hooks[point] {
			f := Finding{Key: key, To: "hooks." + point}
			info, err := fs.Stat(r.fsys, path.Join(r.dir, key))
			switch {
			case err != nil:
				r.tell(Finding{Key: key, Fate: Wrong, Why: plain(err)})
				continue
			case info.Mode()&0o111 == 0:
				f.Fate, f.Why = Near, "is read by a bash of its own, since it is not executable: what it sets is lost, except DONT_SKIP_DEFAULTS"
				f.Instead = "chmod +x, and the settings themselves in place of variables"
			}
			program := path.Join(r.base, r.dir, key)
			r.set(f, func(s *guest.Spec) {
				list := s.Hooks.At(point)
				*list = append(slices.Clone(*list), program)
			})
		}
	}
}

// apps tells of the other programs' settings.
func (r *reader) apps() {
	r.helper()
	for _, name := range r.below("apps/vdevmap") {
		r.device("apps/vdevmap/" + name)
	}
	for _, k := range []struct {
		dir string
		f   Finding
	}{
		{"apps/vunify/exclude", Finding{Fate: Same, Why: "`vserver hashify` reads it"}},
		{"apps/vunify/", Finding{Fate: Passed, Why: "vunify and vhashify find equal files by their content, in one pool, and ask dpkg's notes what belongs to the administrator"}},
		{"apps/pkgmgmt/", Finding{Fate: Passed, Why: "vapt-get, vyum and vpkg use the guest's package manager or else the host's, with the guest's own notes of its packages"}},
		{"apps/vlogin/", Finding{Fate: Passed, Why: "enter gives the shell a terminal of the guest's own"}},
	} {
		for _, key := range r.keys {
			if strings.HasPrefix(key, k.dir) && !r.done[key] {
				k.f.Key = key
				r.tell(k.f)
			}
		}
	}
}

// stopTimeout is how long a stop waited that no sync-timeout told.
const stopTimeout = guest.Duration(30 * time.Second)

// helper tells what becomes of a reboot or halt from inside.
func (r *reader) helper() {
	const dir = "apps/vshelper"
	r.guest.Spec.Init.StopTimeout = stopTimeout
	if text, ok := r.preset(dir + "/sync-timeout"); ok && !r.has(dir+"/sync-timeout") {
		r.timeout(Finding{Key: ".defaults/" + dir + "/sync-timeout", Value: first(text)})
	}
	for _, name := range r.below(dir) {
		key := dir + "/" + name
		value, _ := r.line(key)
		f := Finding{Key: key, Value: value, Fate: Passed}
		switch name {
		case "action":
			f.Why = "vserverd starts a guest that reboots again, and cleans up after one that halts"
			if value != "restart" && value != "sync" && value != "async" && value != "" {
				f.Fate, f.Why = Near, "vserverd runs .defaults/apps/vshelper-methods/"+value+" when the guest has ended, not while it ends"
			}
		case "sync-timeout":
			r.timeout(f)
			continue
		case "disabled", "warning-disabled", "debug":
			f.Why = "vserverd needs no settings"
		case "restart", "halt", "poweroff", "shutdown":
			f.Fate, f.Why = Near, "vserverd runs it when the guest has ended, not while it ends"
			if name == "poweroff" {
				f.Why += "; for a halt too, if there is no program for that: reboot(2) in a guest does not tell them apart"
			}
		case "startup":
			f.Why = "was never run: a guest was not known yet when it began"
			f.Instead = "a script post-start"
		case "oom":
			f.Fate, f.Why = Refused, "no program is run for it"
			f.Instead = "the logs of vserverd and of the guest, and `vserver NAME status`, tell of each"
		default:
			f.Fate, f.Why, f.Instead = Refused, "no stock kernel tells of it", "a script post-start or post-stop"
		}
		r.tell(f)
	}
}

// timeout reads how long a stop waits.
func (r *reader) timeout(f Finding) {
	var d guest.Duration
	if err := d.UnmarshalText([]byte(f.Value)); err != nil {
		r.wrong(f, plain(err))
		return
	}
	f.Fate, f.To = "", "init.stop_timeout"
	r.set(f, func(s *guest.Spec) { s.Init.StopTimeout = d })
}

// device reads an entry of the device map.
func (r *reader) device(dir string) {
	device, _ := r.line(dir + "/device")
	f := Finding{Key: dir + "/device", Value: device, To: "rights.devices"}
	rights := ""
	if r.has(dir + "/open") {
		rights = "rw"
	}
	if r.has(dir + "/create") {
		rights += "m"
	}
	for _, name := range r.below(dir) {
		if name == "device" || !slices.Contains([]string{"open", "create", "remap", "target", "flags"}, name) {
			continue
		}
		g := Finding{Key: dir + "/" + name, Fate: Same, To: "rights.devices"}
		if name == "remap" || name == "target" || name == "flags" {
			g.Fate, g.To, g.Why, g.Instead = Refused, "", "a device is not shown as another", "mounts: the other device's node, bound over it"
		}
		r.tell(g)
	}
	if !r.has(dir + "/device") {
		return
	}
	var d guest.Device
	err := d.UnmarshalText([]byte(device + " " + rights))
	if err != nil || rights == "" {
		f.Fate, f.Why = Passed, "neither open nor create: nothing is allowed, as for every other device"
		if err != nil && rights != "" {
			f.Fate, f.Why = Wrong, plain(err)
		}
		r.tell(f)
		return
	}
	r.set(f, func(s *guest.Spec) { s.Rights.Devices = append(slices.Clone(s.Rights.Devices), d) })
}

// spaces reads which namespaces are the guest's own, and settings of the kernel.
func (r *reader) spaces() {
	for _, name := range r.below("spaces") {
		key := "spaces/" + name
		value, _ := r.line(key)
		f := Finding{Key: key, Value: value, Fate: Passed, Why: "every guest has pids of its own"}
		switch {
		case name == "mask":
			f.Why = "had no effect"
		case name != "pid" && name != "net":
			r.stranger(key)
			continue
		case value != "" && value != "0":
			f.Fate, f.Why, f.Instead = Refused, "a guest does not join another's namespaces", "one guest with both, or network.netns for both"
		case name == "net" && value == "0":
			f.Why = "the network is the host's, by its addresses"
		case name == "net":
			f.Fate, f.To, f.Why = Same, "network.mode", ""
			r.set(f, func(s *guest.Spec) {
				s.Network = guest.Network{Mode: guest.NetPrivate, Addresses: plainAddresses(s.Network.Addresses)}
			})
			continue
		}
		r.tell(f)
	}
	for _, name := range r.below("sysctl") {
		dir := "sysctl/" + name
		setting, ok := r.line(dir + "/setting")
		value, ok2 := r.line(dir + "/value")
		if !ok || !ok2 {
			continue
		}
		setting = strings.ReplaceAll(setting, "/", ".")
		r.done[dir+"/value"] = true
		r.set(Finding{Key: dir + "/setting", Value: setting + " = " + value, To: "rights.sysctls"},
			func(s *guest.Spec) { s.Rights.Sysctls = with(s.Rights.Sysctls, setting, value) })
	}
	r.netns()
}

// netns reads the network namespace of the host's that the guest is in, its own or else that
// for all guests.
func (r *reader) netns() {
	f := Finding{Key: "netns/name", To: "network.netns", Fate: Near, Why: "it has to be there when the guest is started, and stays", Instead: "a script initialize with `ip netns add NAME`"}
	name, own := r.line(f.Key)
	if !own && !r.has("nonetns") {
		if text, ok := r.preset(f.Key); ok {
			f.Key, name = ".defaults/"+f.Key, first(text)
		}
	}
	if f.Value = name; name != "" {
		r.set(f, func(s *guest.Spec) { s.Network = guest.Network{Mode: guest.NetHost, Netns: name} })
	}
	for _, key := range r.keys {
		if r.done[key] || !strings.HasPrefix(key, "netns/") {
			continue
		}
		value, _ := r.line(key)
		switch {
		case key == "netns/shared":
			r.tell(Finding{Key: key, Fate: Same, To: "network.netns", Why: "any number of guests may be in one"})
		default:
			r.tell(Finding{Key: key, Value: value, Fate: Refused, Why: "no pair of links is made for the namespace", Instead: "a script initialize with `ip link add HOST type veth peer name GUEST netns NAME`, or network.mode: private"})
		}
	}
}

// plainAddresses are addresses as a guest with a network of its own has them.
func plainAddresses(list []guest.Address) (out []guest.Address) {
	for _, a := range list {
		out = append(out, guest.Address{Prefix: a.Prefix})
	}
	return out
}

// others tells of the keys at the top that mean nothing here.
func (r *reader) others() {
	const mounts = "every guest has a mount namespace with nothing of the host's in it"
	for _, k := range []struct {
		name string
		f    Finding
	}{
		{"run", Finding{Fate: Same, Why: "holds the number while the guest runs, for scripts; the programs here ask the kernel"}},
		{"cache", Finding{Fate: Passed, Why: "nothing of the guest is cached"}},
		{"namespace", Finding{Fate: Passed, Why: mounts}},
		{"nonamespace", Finding{Fate: Refused, Why: mounts, Instead: "mounts, for what of the host the guest should see"}},
		{"namespace-cleanup", Finding{Fate: Passed, Why: mounts}},
		{"nonamespace-cleanup", Finding{Fate: Refused, Why: mounts, Instead: "mounts, for what of the host the guest should see"}},
		{"namespace-cleanup-skip", Finding{Fate: Refused, Why: mounts, Instead: "mounts, for what of the host the guest should see"}},
		{"noisy", Finding{Fate: Passed, Why: "`vserver NAME start --dry-run` tells every step"}},
		{"keepfds", Finding{Fate: Refused, Why: "no file of the host's gets into a guest", Instead: "mounts, or a socket in a volume"}},
		{"nocgroup", Finding{Fate: Same, Why: ".defaults/cgroup is not read"}},
		{"nonetns", Finding{Fate: Same, Why: ".defaults/netns is not read"}},
		{"legacy", Finding{Fate: Refused, Why: "the form NAME.conf is not read", Instead: "the files of this directory"}},
		{"hostname", Finding{Fate: Refused, Why: "is of the form NAME.conf", Instead: "uts/nodename"}},
		{"domainname", Finding{Fate: Refused, Why: "is of the form NAME.conf", Instead: "uts/domainname"}},
	} {
		if r.has(k.name) && !r.kinds[k.name].IsDir() && !r.done[k.name] {
			k.f.Key = k.name
			if r.kinds[k.name].IsRegular() {
				k.f.Value, _ = r.line(k.name)
			}
			r.tell(k.f)
		}
	}
}
