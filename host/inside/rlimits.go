package inside

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/cred"
	"vserver/kernel/proc"
	"vserver/kernel/seccomp"
	"vserver/limit"
)

// Holds gives the error with which no guest of a spec is started on this host: it has nothing
// for one of the limits, or does not know a system call. Of other rights the start says so.
func Holds(spec *guest.Spec) error {
	cg, err := cgroup.Find()
	if err != nil {
		return nil // as the start says as well
	}
	if err := limit.Check(cg, spec.Limits); err != nil {
		return err
	}
	if err := Rlimits(&guest.Limits{}, &spec.Limits); err != nil {
		return err
	}
	if err := seccomp.Known(spec.Rights.Syscalls); err != nil {
		return fmt.Errorf("rights.syscalls: %w: %w", err, guest.ErrInvalid)
	}
	return nil
}

// Rlimits gives the error for a limit of setrlimit(2) that no guest of ours can be started
// with, other than those that old has: it is guest.ErrUnsupported for more than our own hard
// one, unless we may have any, and for more files than the kernel gives anybody.
func Rlimits(old, l *guest.Limits) error {
	able := slices.Contains(guest.Capset(cred.Permitted()).Names(), "sys_resource")
	for i, name := range guest.Rlimits() {
		if want, had := l.Rlimits[name], old.Rlimits[name]; want != had {
			if err := settable("limits.rlimits."+name, i, want.Hard, able); err != nil {
				return err
			}
		}
		if want := l.Ceilings[name]; want != old.Ceilings[name] {
			if err := settable("limits.ceilings."+name, i, uint64(want), able); err != nil {
				return err
			}
		}
	}
	return nil
}

func settable(path string, resource int, hard uint64, able bool) error {
	const files = 7 // RLIMIT_NOFILE
	refuse := func(most uint64, whose string) error {
		return fault.Hint(fmt.Errorf("%s: more than %d, %s: %w", path, most, whose, guest.ErrUnsupported),
			fmt.Sprintf("nearest: %s=%d", path, most))
	}
	if !able {
		ours, err := proc.Limit(0, resource, nil)
		if err != nil {
			return err
		}
		if hard > ours.Hard {
			return refuse(ours.Hard, "the hard limit of root of this host, which lacks CAP_SYS_RESOURCE")
		}
	}
	if resource != files {
		return nil
	}
	text, err := os.ReadFile("/proc/sys/fs/nr_open")
	if err != nil {
		return err
	}
	if most, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && hard > most {
		return refuse(most, "the host's fs.nr_open")
	}
	return nil
}
