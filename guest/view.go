package guest

import (
	"fmt"
	"strings"
)

// View is what a guest sees of the machine.
type View struct {
	Flags []string `yaml:"flags" doc:"what a guest sees of its own and not of the host: virt_mem, virt_cpu, virt_load, virt_uptime, by Linux-VServer's names; a '!' takes one away" default:"all of them for a guest with a limit of memory or processors"`
}

// ViewFlags are flags of a guest's view.
type ViewFlags uint8

// The flags of a view that are there to be switched.
const (
	VirtMem ViewFlags = 1 << iota
	VirtCPU
	VirtLoad
	VirtUptime
)

// Has tells whether a flag is among them.
func (f ViewFlags) Has(flag ViewFlags) bool { return f&flag != 0 }

// viewFlag gives the flag of that name. What every guest has is 0: it may be asked for,
// and not be taken away.
func viewFlag(name string) (f ViewFlags, known bool) {
	switch name {
	case "virt_mem":
		return VirtMem, true
	case "virt_cpu":
		return VirtCPU, true
	case "virt_load":
		return VirtLoad, true
	case "virt_uptime":
		return VirtUptime, true
	case "hide_mount", "hide_vinfo":
		return 0, true
	}
	return 0, false
}

// HostTime is the flag of a guest whose uptime is the host's: !virt_uptime. A guest
// without it has a clock of its own, whether a view tells it or not.
const HostTime ViewFlags = 1 << 7

// Views gives the flags of the guest's view. A guest without limits of memory or
// processors sees what it has: the whole machine, and so by default has no view; that is
// 0, as nobody need serve it. An unknown flag is ErrInvalid.
func (s *Spec) Views() (ViewFlags, error) {
	var on, off ViewFlags
	for _, word := range s.View.Flags {
		f, not, err := parseView(word)
		if err != nil {
			return 0, err
		}
		if not {
			off |= f
		} else {
			on |= f
		}
	}
	if s.Limits.viewed() {
		on = VirtMem | VirtCPU | VirtLoad | VirtUptime
	}
	on &^= off
	if off.Has(VirtUptime) {
		on |= HostTime
	}
	return on, nil
}

// viewFlagNames are the flags of a view by name.
func viewFlagNames() []string {
	return []string{"virt_mem", "virt_cpu", "virt_load", "virt_uptime", "hide_mount", "hide_vinfo"}
}

// parseView reads a flag, as rights.flags has them: in any case, with Linux-VServer's prefix
// or without, with a '!' or '~' that negates it.
func parseView(word string) (f ViewFlags, not bool, err error) {
	name, not := negation(strings.ToLower(strings.TrimSpace(word)))
	name = strings.TrimPrefix(name, "vxf_")
	f, known := viewFlag(name)
	switch {
	case !known:
		return 0, not, unknown("flag", word, name, viewFlagNames(), "want "+strings.Join(viewFlagNames(), ", "))
	case not && f == 0:
		return 0, not, fmt.Errorf("flag %q cannot be taken away, every guest has it: %w", name, ErrInvalid)
	}
	return f, not, nil
}

func (v *validator) view(s *Spec) {
	each(v, "view.flags", s.View.Flags, func(at, word string) {
		if _, _, err := parseView(word); err != nil {
			v.fail(at, err)
		}
	})
}

// viewed tells whether the limits make a machine of another size than the host.
func (l Limits) viewed() bool {
	return l.Memory > 0 || l.MemorySoft > 0 || l.CPUs > 0 || len(l.CPUSet) > 0 || l.TokenBucket != TokenBucket{}
}
