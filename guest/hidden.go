package guest

// hidden checks what else a guest needs whose sockets are handed in (hide_netif), or whose
// packets the host does not see.
func (v *validator) hidden(s *Spec) {
	v.heldInside(s)
	n := s.Network
	if n.Mode == "" {
		n.Mode = NetShared
	}
	if !n.Hidden() {
		return
	}
	if s.Userns == UsernsNone {
		v.bad("network.flags", "hide_netif needs userns: private; the host's root could use the sockets against the host")
	}
	if s.Rights.Seccomp == SeccompNone {
		v.bad("network.flags", "hide_netif needs rights.seccomp: default, by which the sockets are handed in")
	}
}
