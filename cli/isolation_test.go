package cli

import (
	"strings"
	"testing"

	"vserver/guest"
)

// In mode host attacks on the network come off by intent: the host lacks nothing.
func TestLackHint(t *testing.T) {
	for mode, word := range map[guest.NetMode]string{guest.NetHost: "--mode shared", guest.NetShared: "--problems", "": "--problems"} {
		if got := lackHint(mode); !strings.Contains(got, word) {
			t.Errorf("mode %q: %s", mode, got)
		}
	}
}
