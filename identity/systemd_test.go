package identity

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Generators and units that a guest has no use for are masked where there are some; what
// an administrator put in their place stays, and other inits see nothing of it.
func TestMasks(t *testing.T) {
	r, _ := world(t, map[string]string{
		"usr/lib/systemd/system-generators/systemd-gpt-auto-generator":   "x",
		"usr/lib/systemd/system-generators/systemd-debug-generator":      "x",
		"usr/lib/systemd/system-generators/systemd-fstab-generator":      "x",
		"etc/systemd/system-generators/systemd-debug-generator":          "own",
		"usr/lib/systemd/system-generators/systemd-gpt-auto-generator.d": "x",
		"lib/systemd/system/systemd-remount-fs.service":                  "x",
		"lib/systemd/system/fstrim.timer":                                "x",
		"lib/systemd/system/systemd-journald.service":                    "x",
		"etc/systemd/system/fstrim.timer":                                "own",
	})
	for range 2 {
		if err := Masks(r); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string][]string{
		"etc/systemd/system-generators": {"systemd-debug-generator", "systemd-gpt-auto-generator"},
		"etc/systemd/system":            {"fstrim.timer", "systemd-remount-fs.service"},
	} {
		names, err := r.Names(dir)
		slices.Sort(names)
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("%s: %q, %v; want %q", dir, names, err, want)
		}
	}
	for p, want := range map[string]string{
		"etc/systemd/system-generators/systemd-gpt-auto-generator": "",
		"etc/systemd/system-generators/systemd-debug-generator":    "own",
		"etc/systemd/system/systemd-remount-fs.service":            "",
		"etc/systemd/system/fstrim.timer":                          "own",
	} {
		if got := text(t, r, p); got != want {
			t.Errorf("%s says %q, want %q", p, got, want)
		}
	}

	// What a guest has unmasked, a clone of it has so too.
	r, _ = world(t, map[string]string{"usr/lib/systemd/system/fstrim.timer": "x", "etc/systemd/system/fstrim.timer": ""})
	if err := errors.Join(r.Remove("etc/systemd/system/fstrim.timer"), Masks(r)); err != nil {
		t.Fatal(err)
	}
	if names, err := r.Names("etc/systemd/system"); err != nil || len(names) > 0 {
		t.Errorf("masked again: %q, %v", names, err)
	}

	r, upper := world(t, map[string]string{"etc/inittab": "x"})
	if err := Masks(r); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(upper, "etc")); err == nil {
		t.Error("a root without systemd got something")
	}
}
