package config

import (
	"testing"

	"vserver/guest"
	"vserver/kernel/proc"
)

// A process follows the guest's limit as far as it has chosen none itself.
func TestMoved(t *testing.T) {
	init := proc.Rlimit{Soft: 100, Hard: 200}
	for _, c := range []struct {
		now  proc.Rlimit
		to   guest.Rlimit
		want proc.Rlimit
	}{
		{init, guest.Rlimit{Soft: 50, Hard: 300}, proc.Rlimit{Soft: 50, Hard: 300}},
		{proc.Rlimit{Soft: 30, Hard: 200}, guest.Rlimit{Soft: 50, Hard: 300}, proc.Rlimit{Soft: 30, Hard: 300}},
		{proc.Rlimit{Soft: 30, Hard: 200}, guest.Rlimit{Soft: 5, Hard: 10}, proc.Rlimit{Soft: 10, Hard: 10}},
		{proc.Rlimit{Soft: 100, Hard: 150}, guest.Rlimit{Soft: 250, Hard: 300}, proc.Rlimit{Soft: 150, Hard: 150}},
		{proc.Rlimit{Soft: 500, Hard: 1000}, guest.Rlimit{Soft: 50, Hard: 60}, proc.Rlimit{Soft: 60, Hard: 60}},
	} {
		if got := moved(c.now, init, c.to); got != c.want {
			t.Errorf("of %v, %v: %v, want %v", c.now, c.to, got, c.want)
		}
	}
}

func TestLive(t *testing.T) {
	for _, path := range []string{"init.stop_timeout", "boot.depends", "hooks.pre-stop", "limits.ceilings"} {
		if !live(path) {
			t.Errorf("%s", path)
		}
	}
	for _, path := range []string{"init.command", "hooks.pre-start", "network.addresses", "restart"} {
		if live(path) {
			t.Errorf("%s", path)
		}
	}
}
