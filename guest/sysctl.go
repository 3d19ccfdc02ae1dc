package guest

import (
	"slices"
	"strings"
)

// Sysctls are the settings of the kernel that a guest's namespaces have for themselves,
// beside those of net: of its IPC namespace and of its host name.
func Sysctls() []string {
	return []string{
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
		"kernel.shmmni", "kernel.shm_rmid_forced", "kernel.domainname", "fs.mqueue.msg_default",
		"fs.mqueue.msg_max", "fs.mqueue.msgsize_default", "fs.mqueue.msgsize_max", "fs.mqueue.queues_max",
	}
}

// sysctls checks rights.sysctls: settings that are the guest's own and nobody else's.
func (v *validator) sysctls(list map[string]string, n *Network) {
	if len(list) > MaxItems {
		v.bad("rights.sysctls", "%d settings: want at most %d", len(list), MaxItems)
		return
	}
	for _, name := range sorted(list) {
		at := "rights.sysctls." + name
		switch why := noSysctl(name, n.Mode, n.Hidden()); {
		case why != "":
			v.fail(at, unsupported(name+": "+why))
		case list[name] == "":
			v.bad(at, "has no value")
		default:
			v.text(at, list[name])
		}
	}
}

// noSysctl tells why a guest in a network of that mode cannot have the setting for
// itself; "" when it can.
func noSysctl(name string, mode NetMode, hidden bool) string {
	plain := strings.HasPrefix(name, "net.") && len(name) < 256 && !strings.Contains(name, "..")
	for _, part := range strings.Split(name, ".") {
		plain = plain && word(part, "_-/") && !strings.Contains(part, "..")
	}
	switch {
	case slices.Contains(Sysctls(), name):
		return ""
	case plain && !hidden && (mode == NetPrivate || mode == NetNone):
		return ""
	case plain && mode == NetHost:
		return "with network.mode: host it is the host's; set it there"
	case strings.HasPrefix(name, "net.") && plain:
		return "the network's settings are the host's in mode shared; network.mode: private has its own"
	case name == "kernel.hostname":
		return "is said by hostname"
	case strings.HasPrefix(name, "user."):
		return "is said by limits.ceilings"
	case strings.HasPrefix(name, "net."):
		return "no such setting"
	}
	near := ""
	if n := Nearest(name, Sysctls()); n != "" {
		near = " (did you mean " + n + "?)"
	}
	return "is one for the whole host, of which no namespace has its own" + near +
		"; sysctl(8) on the host sets it, `vserver check --fix` those that many guests need"
}
