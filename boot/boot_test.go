// Package boot_test looks at the files for the host's init. That they do their work is
// seen by internal/real.
package boot_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"vserver/internal/need"
	"vserver/internal/script"
)

func TestMain(m *testing.M) { need.Main(m) }

// systemd reads the units without a complaint.
func TestUnits(t *testing.T) {
	verify := need.Command(t, "systemd-analyze")
	units, err := filepath.Glob("*.s[eo][rc]*")
	targets, _ := filepath.Glob("*.target")
	units = append(units, targets...)
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
	if len(units) != 7 {
		t.Errorf("units: %q", units)
	}
	c := exec.Command(verify, args...)
	c.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// When the host goes down, vserverd is there until the guests are: what is After it starts
// after it and stops before it.
func TestUnitsOrder(t *testing.T) {
	for _, u := range []string{"vserver.service", "vserver@.service", "vserver-mark@.service"} {
		b, err := os.ReadFile(u)
		if err != nil {
			t.Fatal(err)
		}
		after := regexp.MustCompile(`(?m)^After=.*$`).FindString(string(b))
		if words := strings.Fields(after); !slices.Contains(words, "vserverd.service") {
			t.Errorf("%s: %s: not vserverd.service", u, after)
		}
	}
}

func TestScripts(t *testing.T) {
	sh := need.Command(t, "sh")
	scripts, _ := filepath.Glob("debian/*")
	inits, _ := filepath.Glob("*.init")
	if len(inits) != 3 {
		t.Errorf("scripts of the init: %q", inits)
	}
	for _, s := range append(scripts, inits...) {
		if out, err := exec.Command(sh, "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", s, err, out)
		}
	}
	for _, name := range inits {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"Provides", "Required-Start", "Required-Stop", "Default-Start", "Default-Stop", "Short-Description"} {
			if !strings.Contains(string(b), "\n# "+field+":") {
				t.Errorf("%s: no %s", name, field)
			}
		}
	}
}

// TestScript drives the scripts of the init, with the program where they would find it.
func TestScript(t *testing.T) {
	script.Run(t, "testdata/script", func(e *testscript.Env) error {
		inits, err := filepath.Glob("*.init")
		for _, name := range inits {
			b, readErr := os.ReadFile(name)
			text := strings.ReplaceAll(string(b), "/usr/sbin/vserver", filepath.Join(e.WorkDir, ".bin/vserver"))
			text = strings.ReplaceAll(text, "/etc/default", filepath.Join(e.WorkDir, "default"))
			to := filepath.Join(e.WorkDir, strings.TrimSuffix(name, ".init"))
			err = errors.Join(err, readErr, os.WriteFile(to, []byte(text), 0o755))
		}
		return err
	})
}
