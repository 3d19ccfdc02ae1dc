package elder

import (
	"os"
	"path/filepath"
	"testing"

	"vserver/layer"
)

func TestVersionIn(t *testing.T) {
	for program, want := range map[string]int{
		"\x7fELF\x00systemd 229\n\x00":            229, // Ubuntu 16.04
		"\x00systemd 215\x00":                     215,
		"\x00systemd 219 running in %ssystem":     219,
		"\x00systemd 231\x00":                     0,
		"\x00systemd 252 running in %ssystem":     0,
		"\x00systemd-shared 229\x00":              0,
		"\x00not systemd 229\x00":                 0,
		"\x00systemd 99999\x00":                   0,
		"\x00systemd %s running in %ssystem mode": 0,
	} {
		if n := versionIn([]byte(program)); n != want {
			t.Errorf("%q: %d, want %d", program, n, want)
		}
	}
}

func TestLibraryIn(t *testing.T) {
	for name, want := range map[string]string{"libc-2.7.so": "2.7", "libc-2.11.3.so": "2.11.3", "libc-2.13.so": "2.13", "libc-2.14.so": "", "libc-2.36.so": "",
		"libc.so.6": "", "libc-2.so": "", "libcap-2.7.so": ""} {
		if got := libraryIn(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The init is found where distributions have it, and only where it is the init.
func TestVersion(t *testing.T) {
	for name, c := range map[string]struct {
		links   map[string]string
		program string
		want    int
	}{
		"debian":         {map[string]string{"sbin/init": "/lib/systemd/systemd"}, "lib/systemd/systemd", 229},
		"one usr":        {map[string]string{"sbin": "usr/sbin", "lib": "usr/lib", "usr/sbin/init": "../lib/systemd/systemd"}, "usr/lib/systemd/systemd", 229},
		"another's init": {map[string]string{"sbin/init": "busybox"}, "lib/systemd/systemd", 0},
		"none":           {nil, "lib/systemd/systemd", 0},
		"no program":     {map[string]string{"sbin/init": "/lib/systemd/systemd"}, "elsewhere/systemd", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name string, do func(path string) error) {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := do(path); err != nil {
					t.Fatal(err)
				}
			}
			write(c.program, func(path string) error { return os.WriteFile(path, []byte("\x00systemd 229\n"), 0o755) })
			for from, to := range c.links {
				write(from, func(path string) error { return os.Symlink(to, path) })
			}
			root, err := layer.Open(dir, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if n, err := Version(root); n != c.want || err != nil {
				t.Errorf("%d, %v; want %d", n, err, c.want)
			}
		})
	}
}
