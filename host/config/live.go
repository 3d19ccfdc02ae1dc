package config

import (
	"errors"
	"slices"
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
	case "limits.memory", "limits.memory_soft", "limits.memory_reserved", "limits.memory_low", "limits.memory_idle", "limits.swap", "limits.zswap",
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

// counted tells the settings that a running guest gets at once, by the programs of its
// network.
func counted(path string) bool { return path == "network.sockets" || path == "network.connections" }

// relimit gives a guest that runs the limits of a spec, if one of these paths is among
// them, and says which of them it gets only when it is started again. Either all hold
// afterwards or, with an error that names the one which cannot be had, those of old, which
// is nil when nobody knows what was before. Of one that does not run, limits are refused with
// which it would not start.
func relimit(d guest.Dirs, n guest.Name, old, spec *guest.Spec, paths []string) (wait []string, err error) {
	ceilings := slices.Contains(paths, ceilingsPath)
	if !ceilings && !slices.ContainsFunc(paths, limited) {
		return nil, nil
	}
	running, err := state.Runs(d, n)
	if err != nil {
		return nil, err
	}
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	if !running {
		if old != nil && limit.Check(cg, old.Limits) != nil {
			return nil, nil // one by one they may be mended
		}
		return nil, limit.Check(cg, spec.Limits)
	}
	full := spec.WithDefaults(n)
	l := full.Limits
	was, err := state.ReadNote(d, n)
	if err == nil && was != nil && was.Nproc > 0 {
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
	if !ceilings {
		return wait, limit.Change(cg, d.Group(n), l)
	}
	more, err := receil(d, n, was, old, spec)
	if err != nil {
		return nil, err
	}
	if err := limit.Change(cg, d.Group(n), l); err != nil {
		if old != nil {
			_, back := receil(d, n, was, spec, old)
			err = errors.Join(err, back)
		}
		return nil, err
	}
	return append(wait, more...), nil
}

// unlimit takes relimit back.
func unlimit(d guest.Dirs, n guest.Name, old, spec *guest.Spec, paths []string) error {
	if old == nil {
		return nil
	}
	_, err := relimit(d, n, spec, old, paths)
	return err
}
