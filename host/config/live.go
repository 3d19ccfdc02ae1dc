package config

import (
	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/limit"
)

// limited tells the settings that a running guest gets at once, by its groups.
func limited(path string) bool {
	switch path {
	case "limits.memory", "limits.swap", "limits.cpus", "limits.pids":
		return true
	}
	return false
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

// relimit gives a running guest the limits of its spec, and says which of them it
// gets only when it is started again.
func relimit(d guest.Dirs, n guest.Name) (wait []string, err error) {
	spec, err := state.Load(d, n)
	if err != nil {
		return nil, err
	}
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	l := spec.Limits
	if was, err := state.ReadNote(d, n); err == nil && was != nil && was.Nproc > 0 {
		// Its user namespace was made with a ceiling that stays.
		if l.Pids > was.Nproc {
			wait = append(wait, "limits.pids")
		}
		if l.Pids == was.Nproc {
			l.Pids = 0
		}
	}
	return wait, limit.Change(cg, d.Group(n), l)
}
