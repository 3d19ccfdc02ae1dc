package config

import (
	"strings"

	"vserver/guest"
	"vserver/host/balance"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/limit"
)

// limited tells the settings that a running guest gets at once, by its groups.
func limited(path string) bool {
	switch path {
	case "limits.memory", "limits.memory_soft", "limits.memory_reserved", "limits.memory_low", "limits.swap", "limits.zswap",
		"limits.oom_group", "limits.pids", "limits.cpus", "limits.cpu_burst", "limits.cpu_shares", "limits.cpu_reserved",
		"limits.cpu_idle", "limits.cpuset", "limits.mems",
		"limits.hugepages":
		return true
	}
	return strings.HasPrefix(path, "limits.token_bucket.") || strings.HasPrefix(path, "limits.io.")
}

// filtered tells the settings that a running guest gets at once, by the host's packet
// filter and queues.
func filtered(path string) bool {
	switch path {
	case "network.firewall", "network.publish", "network.egress.rate", "network.egress.reserved", "network.egress.share", "network.ingress.rate":
		return true
	}
	return false
}

// relimit gives a guest that runs the limits of a spec, if one of these paths is among
// them, and says which of them it gets only when it is started again. Either all hold
// afterwards or, with an error that names the one which cannot be had, none of them.
func relimit(d guest.Dirs, n guest.Name, spec *guest.Spec, paths []string) (wait []string, err error) {
	asked := false
	for _, p := range paths {
		asked = asked || limited(p)
	}
	if !asked {
		return nil, nil
	}
	if running, err := state.Runs(d, n); err != nil || !running {
		return nil, err
	}
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	full := spec.WithDefaults(n)
	l := full.Limits
	if was, err := state.ReadNote(d, n); err == nil && was != nil && was.Nproc > 0 {
		// Its user namespace was made with a ceiling that stays.
		if l.Pids > was.Nproc {
			wait = append(wait, "limits.pids")
		}
		if l.Pids == was.Nproc {
			l.Pids = 0
		}
	}
	if err := balance.Admit(d, cg, n, &l); err != nil {
		return nil, err
	}
	return wait, limit.Change(cg, d.Group(n), l)
}

// unlimit takes relimit back.
func unlimit(d guest.Dirs, n guest.Name, old *guest.Spec, paths []string) error {
	if old == nil {
		return nil
	}
	_, err := relimit(d, n, old, paths)
	return err
}
