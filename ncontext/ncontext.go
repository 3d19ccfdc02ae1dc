package ncontext

import (
	"vserver/guest"
	"vserver/ncontext/private"
)

// Up connects the guest's network namespace at the descriptor netnsFD to the calling
// thread's as the spec asks. What it made before an error is taken back by Down and
// the end of the namespace.
func Up(spec *guest.Spec, name guest.Name, netnsFD int, dirs guest.Dirs) error {
	if spec.Network.Mode == guest.NetPrivate {
		return private.Up(private.Guest{Spec: spec, Name: name, Netns: netnsFD, Dirs: dirs})
	}
	return nil
}

// Down takes back what Up made on the host for the guest of this number, in whatever
// state it is. It succeeds when there is nothing.
func Down(xid guest.XID, dirs guest.Dirs) error { return private.Down(xid, dirs) }

// Firewall is a chain of other software that may drop what is forwarded to guests.
type Firewall = private.Firewall

// Firewalls gives the chains that may drop what is forwarded to private guests.
func Firewalls() ([]Firewall, error) { return private.Firewalls() }
