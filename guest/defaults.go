package guest

import (
	"slices"
	"strings"
	"time"
)

// The defaults that are numbers. They are named by the doc tags of Spec as well;
// a test holds the two together.
const (
	// DefaultPids bounds a fork bomb well below kernel.pid_max of a small host
	// (32768), and is 8 times what a busy Debian server was seen to use.
	DefaultPids = 4096
	// DefaultStopTimeout is systemd's own DefaultTimeoutStopSec: what a guest's
	// init may take to stop its services in good order.
	DefaultStopTimeout = Duration(90 * time.Second)
	// DefaultLogSize keeps about 10,000 console lines.
	DefaultLogSize = Bytes(1 << 20)
	// DefaultRunlevel is multi-user with network, as sysvinit counts.
	DefaultRunlevel = "3"
	// DefaultRunlevelStop is the halt, as sysvinit counts.
	DefaultRunlevelStop = "0"
)

// RunlevelScripts are the places of the program rc, which style sysv runs.
const RunlevelScripts = "/etc/rc.d:/etc/init.d"

// WithDefaults gives the spec of guest n with the defaults filled in that do not
// depend on the host. What stays zero is decided where it is needed: the xid and
// the id base of a high xid when the guest is built, the stop signal by the init
// that is found, DNS by the host's own. s itself is not changed, but shares its
// slices and maps with the result.
func (s *Spec) WithDefaults(n Name) Spec {
	out := *s
	set(&out.Hostname, hostname(n))
	set(&out.Userns, UsernsPrivate)
	if out.IDBase == 0 && out.Userns == UsernsPrivate && out.XID.IDBase() <= MaxIDBase {
		out.IDBase = out.XID.IDBase()
	}
	set(&out.Root.Kind, RootOverlay)
	set(&out.Init.Style, InitPlain)
	switch out.Init.Style {
	case InitPlain:
		if len(out.Init.Command) == 0 {
			out.Init.Command = []string{"/sbin/init"}
		}
		set(&out.Console.Type, ConsoleTTY)
	case InitSysv:
		if len(out.Init.Command) == 0 {
			set(&out.Init.Runlevel, DefaultRunlevel)
		}
		set(&out.Init.RunlevelStop, DefaultRunlevelStop)
	}
	set(&out.Console.Type, ConsoleLog)
	set(&out.Console.LogSize, DefaultLogSize)
	set(&out.Init.StopTimeout, DefaultStopTimeout)
	set(&out.Network.Mode, NetShared)
	out.Network.defaults(out.XID)
	set(&out.Limits.Pids, DefaultPids)
	set(&out.Rights.Seccomp, SeccompDefault)
	if f, err := out.FlagSet(); err == nil && f.Has(Prolific) {
		out.Rights.Nesting = true
	}
	set(&out.Restart, RestartNever)
	return out
}

// defaults fills in what follows from the guest's number.
func (n *Network) defaults(x XID) {
	if x == 0 {
		return
	}
	if n.Mode == NetShared {
		set(&n.Lback, x.Lback())
	}
	if len(n.Gateway) > 0 {
		set(&n.Table, x.Table())
	}
}

func set[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

// hostname turns a guest's name, which may have underscores and end with a dot,
// into a host name by RFC 1123.
func hostname(n Name) string {
	labels := strings.Split(strings.ReplaceAll(string(n), "_", "-"), ".")
	for i, l := range labels {
		labels[i] = strings.Trim(l, "-")
	}
	labels = slices.DeleteFunc(labels, func(l string) bool { return l == "" })
	return strings.Join(labels, ".")
}

// FirstID is the host id of the guest's root; s has its defaults.
func (s *Spec) FirstID() uint32 {
	if s.Userns == UsernsNone {
		return 0
	}
	return s.IDBase
}
