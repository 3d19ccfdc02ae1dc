package guest

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Caps are the names of the capabilities without "CAP_", in lower case; the index
// is the kernel's number (linux/capability.h; 40 is the last one up to Linux 6.18).
func Caps() []string {
	return []string{
		"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill",
		"setgid", "setuid", "setpcap", "linux_immutable", "net_bind_service",
		"net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
		"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
		"sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time",
		"sys_tty_config", "mknod", "lease", "audit_write", "audit_control",
		"setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm",
		"block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
	}
}

// Capset is a set of capabilities: bit n is capability number n.
type Capset uint64

// ParseCap gives the number of a capability by its name, in any case and with or
// without "CAP_", or written as "^N".
func ParseCap(word string) (int, error) {
	names := Caps()
	name := strings.TrimPrefix(strings.ToLower(word), "cap_")
	if i := slices.Index(names, name); i >= 0 {
		return i, nil
	}
	if digits, ok := strings.CutPrefix(word, "^"); ok {
		if n, err := strconv.Atoi(digits); err == nil && n >= 0 && n < len(names) {
			return n, nil
		}
		return 0, fmt.Errorf("capability %q: want ^0 to ^%d: %w", word, len(names)-1, ErrInvalid)
	}
	return 0, unknown("capability", word, name, names, "capabilities(7) lists them")
}

// Has tells whether capability number n is in the set.
func (c Capset) Has(n int) bool { return c>>n&1 == 1 }

// Names are the names of the capabilities in the set, by number.
func (c Capset) Names() []string {
	names, out := Caps(), make([]string, 0, bits.OnesCount64(uint64(c)))
	for i, name := range names {
		if c.Has(i) {
			out = append(out, name)
		}
	}
	return out
}

// Change gives the set changed by the words of rights.bcaps in their order: a name
// adds, "!name" or "~name" takes away, "all" and "none" replace the whole set.
func (c Capset) Change(words []string) (Capset, error) {
	for _, word := range words {
		bare := strings.TrimLeft(word, "!~")
		negate := (len(word)-len(bare))%2 == 1
		var these Capset
		switch strings.ToLower(bare) {
		case "all", "any":
			these = 1<<len(Caps()) - 1
		case "none":
			these, negate = 1<<len(Caps())-1, !negate
		default:
			n, err := ParseCap(bare)
			if err != nil {
				return 0, err
			}
			these = 1 << n
		}
		if negate {
			c &^= these
		} else {
			c |= these
		}
	}
	return c, nil
}

// Bounding is the capability bounding set of the guest's processes: the default
// for its user namespace, changed by rights.bcaps.
func (s *Spec) Bounding() (Capset, error) {
	var c Capset
	if s.Userns == UsernsNone {
		c = hostBounding(s)
	} else {
		c = usernsBounding()
	}
	// Who may make a tunnel must be able to give it an address; where that capability
	// would count on the host as well, it has to be named.
	caps, err := s.Network.NetCaps()
	if err == nil && caps&TunCreate != 0 && s.Network.Mode == NetPrivate && s.Userns != UsernsNone {
		c |= capset("net_admin")
	}
	if ccaps, err := s.CcapSet(); err != nil {
		return 0, err
	} else if !ccaps.Has(FsSecurity) {
		c &^= capset("setfcap")
	}
	return c.Change(s.Rights.Bcaps)
}

// usernsBounding is the default of a guest with a user namespace, where a
// capability counts only against what that namespace owns. It holds what a
// distribution's init, services and package scripts need:
//
//   - sys_admin: systemd's sandboxed units (PrivateTmp, ProtectSystem,
//     DynamicUser) mount in their own mount namespaces; a unit fails without.
//   - net_raw: counts in the guest's own network namespace only. bookworm's ping
//     carries it as a file capability, and the kernel refuses to execute a program
//     whose file capabilities are not in the bounding set. ipc_lock, sys_nice and
//     sys_resource are kept for the same reason; against the host the kernel asks
//     for them in the initial user namespace, so they lift no limit.
//
// Left out, although most would be harmless there:
//
//   - net_admin: the key to netfilter, traffic control and xfrm, by which two of
//     five known kernel holes are reached. The host sets up the guest's network;
//     systemd-networkd is skipped without it (ConditionCapability). A guest that
//     wants its own firewall says bcaps: [net_admin].
//   - sys_module sys_rawio sys_time: never granted by a user namespace, and units
//     that would fail over that (udev's static nodes, debugfs, timesyncd) ask
//     ConditionCapability= and are skipped in good order.
//   - mknod: device nodes are refused in any user namespace; the same for
//     linux_immutable, sys_pacct and net_broadcast, which do nothing there.
//   - mac_override mac_admin syslog wake_alarm block_suspend audit_control
//     audit_read perfmon bpf: rights over the machine, none of the guest's business.
//   - checkpoint_restore: chooses pids and reads other processes' maps; for CRIU only.
func usernsBounding() Capset {
	return capset("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill",
		"setgid", "setuid", "setpcap", "net_bind_service", "net_raw", "ipc_lock",
		"ipc_owner", "sys_chroot", "sys_ptrace", "sys_admin", "sys_boot", "sys_nice",
		"sys_resource", "sys_tty_config", "lease", "audit_write", "setfcap")
}

// hostBounding is the default of a guest without a user namespace, whose root is
// the host's held by this set alone. It is Linux-VServer's secure set, less
// dac_read_search (open_by_handle_at walks out of any mount namespace with it) and
// sys_ptrace. sys_boot lets the guest reboot itself, but also load a kernel with
// kexec: it goes with the system call filter that refuses kexec. net_raw is given
// where the network namespace is the guest's own, since on the host's it reads and
// forges everybody's packets.
func hostBounding(s *Spec) Capset {
	c := capset("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid",
		"setpcap", "net_bind_service", "sys_chroot", "sys_tty_config", "lease",
		"audit_write", "setfcap")
	if s.Rights.Seccomp != SeccompNone {
		c |= capset("sys_boot")
	}
	if s.Network.OwnNet() {
		c |= capset("net_raw")
	}
	return c
}

func capset(names ...string) (c Capset) {
	all := Caps()
	for _, name := range names {
		c |= 1 << slices.Index(all, name)
	}
	return c
}
