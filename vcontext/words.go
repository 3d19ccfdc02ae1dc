package vcontext

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"syscall"

	"vserver/guest"
	"vserver/kernel/cred"
	"vserver/kernel/seccomp"
)

// softFiles is the kernel's soft limit of open files at boot (INR_OPEN_CUR, linux/fs.h).
// What a guest begins with does not hang on who starts it, the less as Go's runtime has
// raised our own: select(2) knows no file beyond.
const softFiles = 1024

// withFiles gives limits with the number of open files that a process begins with.
func withFiles(limits map[string]guest.Rlimit) (map[string]guest.Rlimit, error) {
	const name = "nofile"
	if _, ok := limits[name]; ok {
		return limits, nil
	}
	var own syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil {
		return nil, fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	out := map[string]guest.Rlimit{name: {Soft: min(softFiles, uint64(own.Max)), Hard: uint64(own.Max)}}
	maps.Copy(out, limits)
	return out, nil
}

// RightsOf turns the words of a spec into what the kernel takes. hidden has the filter
// leave the host's sockets to a server. views are the flags of the guest's view.
func RightsOf(userns, ownNet, hidden bool, views guest.ViewFlags, want guest.Rights, limits map[string]guest.Rlimit) (Rights, error) {
	spec := guest.Spec{Userns: guest.UsernsPrivate, Rights: want}
	if !userns {
		spec.Userns = guest.UsernsNone
	}
	if ownNet {
		spec.Network.Mode = guest.NetNone
	}
	caps, err := spec.Bounding()
	if err != nil {
		return Rights{}, err
	}
	out := Rights{
		LastCap:    cred.LastCap(),
		NoNewPrivs: want.NoNewPrivileges,
	}
	if out.Rlimits, err = withFiles(limits); err != nil {
		return out, err
	}
	if out.Personality, err = guest.ParsePersonality(want.Personality); err != nil {
		return out, err
	}
	out.Caps = uint64(caps) & (1<<(out.LastCap+1) - 1)
	if !userns {
		out.Caps &= cred.Permitted()
	}
	if want.Seccomp == guest.SeccompNone {
		return out, nil
	}
	policy := seccomp.Policy{
		Extra: want.Syscalls, Nesting: want.Nesting, Private: userns, Capped: userns, Notify: hidden,
	}
	if len(want.Ccaps)+len(want.Flags)+len(want.Bcaps) > 0 {
		if policy.Narrow, err = narrow(&spec); err != nil {
			return out, err
		}
		if hidden { // the listener is another server's
			policy.AskedNodes, policy.AskedLimit, policy.AskedQuota = false, false, false
		}
	}
	const netAdmin = 1 << 12
	policy.Links = want.Nesting || ownNet && !hidden && out.Caps&netAdmin != 0
	if !hidden { // whose listener is another server's
		policy.AskedSize = views.Has(guest.VirtMem|guest.VirtLoad) && !slices.Contains(want.Syscalls, "sysinfo")
		policy.AskedCPUs = views.Has(guest.VirtCPU) && !slices.Contains(want.Syscalls, "sched_getaffinity")
	}
	out.Filter, err = seccomp.Compile(policy)
	out.Listened = policy.Listened()
	return out, err
}

// narrow is what the filter does for rights.ccaps, rights.flags and bcap mknod.
func narrow(s *guest.Spec) (n seccomp.Narrow, err error) {
	ccaps, err1 := s.CcapSet()
	flags, err2 := s.FlagSet()
	if err := errors.Join(err1, err2); err != nil {
		return n, err
	}
	n = seccomp.Narrow{
		TypeAhead: ccaps.Has(guest.Tiocsti), FixNice: flags.Has(guest.IgnegNice), FixIONice: flags.Has(guest.IgnegIonice),
		AskedNodes: s.MakesNodes(),
	}
	if s.Userns == guest.UsernsNone {
		return n, nil // the table refuses the others already
	}
	n.AskedLimit, n.AskedQuota = ccaps.Has(guest.SetRlimit), ccaps.Has(guest.QuotaCtl)
	n.NoNew, n.NoRemount = !ccaps.Has(guest.Namespace), !ccaps.Has(guest.SecureRemount)
	if !ccaps.Has(guest.SetUtsname) {
		n.Without = append(n.Without, "sethostname", "setdomainname")
	}
	if n.NoRemount {
		n.Without = append(n.Without, "mount_setattr", "open_tree_attr", "fspick")
	}
	if !ccaps.Has(guest.SecureMount) {
		// Nor may it take mounts away: what masks files of /proc stays, and shows the guest
		// nothing that was hidden from it.
		n.Without = append(n.Without, "mount", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
			"umount", "umount2", "pivot_root")
	}
	return n, nil
}

// DefaultPath is the PATH of a guest's root, in the order of Debian's login.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environ gives an environment as execve(2) takes it, sorted.
func Environ(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	sort.Strings(out)
	return out
}
