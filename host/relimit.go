package host

import (
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/limit"
	"vserver/ncontext"
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

// refilter gives a running guest the firewall and the rates of its spec, for the
// addresses that it has now. One whose network is of another mode than the spec says
// waits for its next start.
func (h *Host) refilter(n guest.Name) error {
	was, err := h.readNote(n)
	if err != nil || was == nil {
		return err
	}
	spec, err := h.Load(n)
	if err != nil || was.Mode != spec.Network.Mode {
		return err
	}
	if was.Mode == guest.NetShared {
		spec.Network.Addresses = was.Addrs
	}
	return ncontext.Refresh(&ncontext.Guest{Name: n, Spec: spec, Dirs: h.Dirs, Netns: -1})
}

// unfiltered says what is wrong when a running guest's rules are not in the packet
// filter, as after `nft flush ruleset`; "" when they are, or there are none.
func (h *Host) unfiltered(n guest.Name, spec *guest.Spec) string {
	missing, err := ncontext.Unfiltered(&ncontext.Guest{Name: n, Spec: spec})
	if err != nil {
		return err.Error()
	}
	if !missing {
		return ""
	}
	if was, err := h.readNote(n); err != nil || was == nil || was.Mode != spec.Network.Mode {
		return "" // it has another network than its spec says
	}
	return "its rules are gone from the host's packet filter (flushed?): restart it, or change network.firewall"
}

// relimit gives a running guest the limits of its spec, and says which of them it
// gets only when it is started again.
func (h *Host) relimit(n guest.Name) (wait []string, err error) {
	spec, err := h.Load(n)
	if err != nil {
		return nil, err
	}
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	l := spec.Limits
	if was, err := h.readNote(n); err == nil && was != nil && was.Nproc > 0 {
		// Its user namespace was made with a ceiling that stays.
		if l.Pids > was.Nproc {
			wait = append(wait, "limits.pids")
		}
		if l.Pids == was.Nproc {
			l.Pids = 0
		}
	}
	return wait, limit.Change(cg, h.group(n), l)
}
