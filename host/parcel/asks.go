package parcel

import (
	"path/filepath"
	"strings"

	"vserver/guest"
)

// Asks gives the settings of a guest by which it has more of the host than one made by
// `vserver build` without options, as "userns, hooks".
func Asks(s *guest.Spec) string {
	var out []string
	add := func(is bool, key string) {
		if is {
			out = append(out, key)
		}
	}
	add(s.Userns == guest.UsernsNone, "userns")
	for _, l := range s.Root.Lower {
		if filepath.IsAbs(l) {
			out = append(out, "root.lower")
			break
		}
	}
	add(len(s.Root.Shared) > 0, "root.shared")
	for _, m := range s.Mounts {
		if m.Type != guest.MountVolume && m.Type != guest.MountTmpfs {
			out = append(out, "mounts")
			break
		}
	}
	add(s.Network.Mode == guest.NetHost, "network.mode")
	add(s.Network.Link == guest.LinkBridge || s.Network.Link == guest.LinkMacvlan, "network.link")
	add(len(s.Network.Publish) > 0, "network.publish")
	r := s.Rights
	add(len(r.Bcaps) > 0, "rights.bcaps")
	add(len(r.Ccaps) > 0, "rights.ccaps")
	add(len(r.Flags) > 0, "rights.flags")
	add(len(r.Devices) > 0, "rights.devices")
	add(len(r.Sysctls) > 0, "rights.sysctls")
	add(r.Seccomp == guest.SeccompNone, "rights.seccomp")
	add(len(r.Syscalls) > 0, "rights.syscalls")
	add(r.Nesting, "rights.nesting")
	add(r.Cgroup1, "rights.cgroup1")
	add(s.Limits.Nice < 0, "limits.nice")
	add(s.Limits.OOMScoreAdj < 0, "limits.oom_score_adj")
	add(len(s.Limits.Ceilings) > 0, "limits.ceilings")
	for _, h := range s.Hooks.Points() {
		if len(h.Programs) > 0 {
			out = append(out, "hooks")
			break
		}
	}
	return strings.Join(out, ", ")
}
