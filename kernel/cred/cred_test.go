package cred

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// The kernel's own word on its highest capability is what asking for each comes to.
func TestLastCap(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Fatal(err)
	}
	want, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if got := LastCap(); got != want {
		t.Errorf("%d, the kernel says %d", got, want)
	}
	if known(want+1) || !known(0) {
		t.Errorf("the one above is known: %v, chown is: %v", known(want+1), known(0))
	}
}
