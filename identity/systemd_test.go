package identity

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Generators that a guest has no use for are masked where there are some; what an
// administrator put in their place stays, and other inits see nothing of it.
func TestGenerators(t *testing.T) {
	r, _ := world(t, map[string]string{
		"usr/lib/systemd/system-generators/systemd-gpt-auto-generator":   "x",
		"usr/lib/systemd/system-generators/systemd-debug-generator":      "x",
		"usr/lib/systemd/system-generators/systemd-fstab-generator":      "x",
		"etc/systemd/system-generators/systemd-debug-generator":          "own",
		"usr/lib/systemd/system-generators/systemd-gpt-auto-generator.d": "x",
	})
	for range 2 {
		if err := generators(r); err != nil {
			t.Fatal(err)
		}
	}
	names, err := r.Names("etc/systemd/system-generators")
	slices.Sort(names)
	if want := []string{"systemd-debug-generator", "systemd-gpt-auto-generator"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v; want %q", names, err, want)
	}
	if got := text(t, r, "etc/systemd/system-generators/systemd-gpt-auto-generator"); got != "" {
		t.Errorf("the mask says %q", got)
	}
	if got := text(t, r, "etc/systemd/system-generators/systemd-debug-generator"); got != "own" {
		t.Errorf("the administrator's own has become %q", got)
	}

	r, upper := world(t, map[string]string{"etc/inittab": "x"})
	if err := generators(r); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(upper, "etc")); err == nil {
		t.Error("a root without systemd got something")
	}
}
