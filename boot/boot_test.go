// Package boot_test looks at the files for the host's init. That they do their work is
// seen by internal/real.
package boot_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vserver/internal/need"
)

// systemd reads the units without a complaint.
func TestUnits(t *testing.T) {
	verify := need.Command(t, "systemd-analyze")
	units, err := filepath.Glob("*.s[eo][rc]*")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for _, u := range units {
		b, err := os.ReadFile(u)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "/usr/sbin/vserver ", "/bin/true ")
		text = strings.ReplaceAll(text, "/usr/sbin/vserverd ", "/bin/true ")
		if strings.Contains(text, "/usr/sbin") {
			t.Errorf("%s: a program that is not ours:\n%s", u, text)
		}
		path := filepath.Join(dir, strings.ReplaceAll(u, "@.", "@web1."))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	if len(units) != 4 {
		t.Errorf("units: %q", units)
	}
	c := exec.Command(verify, args...)
	c.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestScripts(t *testing.T) {
	sh := need.Command(t, "sh")
	scripts, _ := filepath.Glob("debian/*")
	for _, s := range append(scripts, "vserver.init") {
		if out, err := exec.Command(sh, "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", s, err, out)
		}
	}
	b, err := os.ReadFile("vserver.init")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"Provides", "Required-Start", "Required-Stop", "Default-Start", "Default-Stop", "Short-Description"} {
		if !strings.Contains(string(b), "\n# "+field+":") {
			t.Errorf("vserver.init: no %s", field)
		}
	}
}
