package vcontext

import (
	"sort"

	"vserver/guest"
	"vserver/kernel/cred"
	"vserver/kernel/seccomp"
)

// RightsOf turns the words of a spec into what the kernel takes. hidden has the filter
// leave the host's sockets to a server.
func RightsOf(userns, ownNet, hidden bool, want guest.Rights, limits map[string]guest.Rlimit) (Rights, error) {
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
		Rlimits:    limits,
	}
	out.Caps = uint64(caps) & (1<<(out.LastCap+1) - 1)
	if !userns {
		out.Caps &= cred.Permitted()
	}
	if want.Seccomp == guest.SeccompNone {
		return out, nil
	}
	out.Filter, err = seccomp.Compile(seccomp.Policy{
		Extra: want.Syscalls, Nesting: want.Nesting, Private: userns, Capped: userns, Notify: hidden,
	})
	out.Listened = hidden
	return out, err
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
