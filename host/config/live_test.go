package config

import "testing"

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
