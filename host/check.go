package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/probe"
	"vserver/ncontext"
	"vserver/sysctl"
)

// Report is what Check found.
type Report struct {
	Features probe.Facts      `json:"features"`
	Settings []sysctl.Setting `json:"settings"`
}

// WithoutVar names the environment variable by which tests take features from the
// kernel: names of probe.Result, separated by commas, that are then reported missing.
const WithoutVar = "VSERVER_WITHOUT"

// room is the number of guests that a host is measured for, if it has fewer: to grow.
const room = 16

// Check finds out what this kernel and this host can do for guests, and which settings
// are too low for as many as there are. Report.Err says whether it is enough.
func (h *Host) Check() (*Report, error) {
	load, err := h.load()
	if err != nil {
		return nil, err
	}
	settings, err := sysctl.Look(load)
	if err != nil {
		return nil, err
	}
	settings = append(settings, openFiles())
	if load.Private {
		settings = append(settings, forwarding()...)
	}
	return &Report{
		Features: probe.Host(probe.Options{
			Dir:     existing(h.Dirs.Data),
			Without: strings.Split(os.Getenv(WithoutVar), ","),
		}),
		Settings: settings,
	}, nil
}

// Err is nil when guests can be run safely, and else guest.ErrUnsupported with the
// features that are required and missing.
func (r *Report) Err() error {
	var names []string
	for _, f := range r.Features.Missing() {
		if f.Untried {
			return untried(f.Found)
		}
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", strings.Join(names, ", "), guest.ErrUnsupported)
}

// untried says why it is not known whether guests can be run.
type untried string

func (u untried) Error() string { return string(u) }
func (untried) Unwrap() error   { return guest.ErrUnsupported }

// Fix sets the settings that are too low, as far as that can be done from
// here, now and for each boot to come. What could not be set is in Change.Err.
func (r *Report) Fix(d guest.Dirs) ([]sysctl.Change, error) {
	// Beside the directory of the specs: /etc/sysctl.d.
	path := filepath.Join(filepath.Dir(d.Config), "sysctl.d", "60-vserver.conf")
	changes, err := sysctl.Fix(r.Settings, path)
	return changes, fault.New("", "check", err)
}

// load is what the host has to carry. A guest whose spec cannot be read counts.
func (h *Host) load() (sysctl.Load, error) {
	names, err := h.Names()
	if err != nil {
		return sysctl.Load{}, err
	}
	l := sysctl.Load{Guests: max(len(names), room)}
	for _, n := range names {
		if spec, err := h.Load(n); err == nil && spec.Network.Mode == guest.NetPrivate {
			l.Private = true
			break
		}
	}
	return l, nil
}

// openFiles looks at the limit of open files that guests inherit.
func openFiles() sysctl.Setting {
	// systemd's own DefaultLimitNOFILE for services (hard), which a guest's systemd
	// cannot set above what it was given.
	const wanted = 524288
	s := sysctl.Setting{
		Name: "RLIMIT_NOFILE", Wanted: strconv.Itoa(wanted),
		Why:  "open files that a process of a guest may ask for; databases want many",
		Hint: "LimitNOFILE=1048576 in the host's service of vserver, or nofile in /etc/security/limits.conf",
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		s.Value = err.Error()
		return s
	}
	s.Value, s.OK = strconv.FormatUint(lim.Max, 10), lim.Max >= wanted
	return s
}

// forwarding looks for firewalls that drop what private guests send and receive.
func forwarding() []sysctl.Setting {
	walls, err := ncontext.Obstacles()
	if err != nil {
		return nil // no nftables, no such chains
	}
	const why = "packets of private guests go through the host; another firewall may drop them"
	if len(walls) == 0 {
		return []sysctl.Setting{{Name: "firewall: forward", Value: "accept", Wanted: "accept", OK: true, Why: why}}
	}
	var out []sysctl.Setting
	for _, w := range walls {
		out = append(out, sysctl.Setting{
			Name: "firewall: " + w.Chain, Value: "drop", Wanted: "accept", Why: why, Hint: w.Allow,
		})
	}
	return out
}

// existing gives the directory, or the nearest above it that is there.
func existing(dir string) string {
	for {
		if st, err := os.Stat(dir); err == nil && st.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
