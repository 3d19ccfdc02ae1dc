package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vserver/guest"
)

// TestUpgraded: a vserverd whose program was replaced has the new one start guests again, which
// may have settings that the old one does not know.
func TestUpgraded(t *testing.T) {
	w := newWorld(t)
	w.guest("web1", func(s *guest.Spec) {
		s.Init.Command = []string{"/bin/sh", "-c", "sleep 1; exit 1"}
		s.Restart = guest.RestartAlways
	})
	program, said := filepath.Join(w.root, "vserver"), filepath.Join(w.root, "said")
	copyProgram(t, program)
	c := exec.Command(program, "start", "web1")
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	next := program + ".new"
	if err := os.WriteFile(next, fmt.Appendf(nil, "#!/bin/sh\necho \"$*\" >>%s\nexit 5\n", said), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, program); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a start by the new program", func() bool {
		text, _ := os.ReadFile(said)
		return strings.Contains(string(text), "--start")
	})
	w.killSupervisors()
	w.Stop(t.Context(), "web1", StopOptions{Kill: true})
}
