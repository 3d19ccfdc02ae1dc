package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vserver/guest"
)

// program is the beginning of an ELF file for a machine.
func program(class, data, machine byte) string {
	return "\x7fELF" + string([]byte{class, data}) + strings.Repeat("\x00", 12) + string([]byte{machine, 0, 0, 0})
}

// filled adds an image whose files are "path=text" and "path>target".
func filled(t *testing.T, m Meta, files ...string) (Meta, error) {
	t.Helper()
	p := Open(filepath.Join(t.TempDir(), "pool"))
	err := p.Add(t.Context(), "a", m, func(_ context.Context, dir string) error {
		var err error
		for _, f := range files {
			i := strings.IndexAny(f, "=>")
			path := filepath.Join(dir, f[:i])
			err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755))
			if f[i] == '>' {
				err = errors.Join(err, os.Symlink(f[i+1:], path))
			} else {
				err = errors.Join(err, os.WriteFile(path, []byte(f[i+1:]), 0o755))
			}
		}
		return err
	})
	return p.Meta("a"), err
}

func TestDescribe(t *testing.T) {
	m, err := filled(t, Meta{Origin: "o"}, "usr/lib/os-release=NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n",
		"etc/os-release>../usr/lib/os-release", "bin>/usr/bin", "usr/bin/sh>dash", "usr/bin/dash="+program(2, 1, 62))
	if err != nil {
		t.Fatal(err)
	}
	if m.Distribution != "debian" || m.Release != "12" || m.Arch != "amd64" || m.Origin != "o" || m.Files != 9 || m.Bytes == 0 || len(m.Digest) != 71 {
		t.Errorf("%+v", m)
	}
	if _, err := filled(t, Meta{Arch: "arm64"}, "bin/sh="+program(2, 1, 62)); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("another machine's: %v", err)
	}
	if m, err := filled(t, Meta{Arch: "arm64"}, "bin/sh=#!"); err != nil || m.Arch != "arm64" {
		t.Errorf("%+v, %v", m, err)
	}
	// Strangers' files that lead out, round, or nowhere, and say what is no word.
	m, err = filled(t, Meta{}, "etc/os-release>../../../../../../../../etc/os-release", "bin/sh>sh", "usr/bin/env>/proc/self/exe",
		"usr/lib/os-release=ID=\x1b[31m\nVERSION_ID=$(reboot)\nVERSION_CODENAME=sid")
	if err != nil || m.Distribution != "" || m.Release != "" && m.Release != "sid" || m.Arch != "" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestELF(t *testing.T) {
	for head, want := range map[string]string{
		program(2, 1, 62): "amd64", program(1, 1, 3): "386", program(1, 1, 40): "arm", program(2, 1, 183): "arm64",
		program(2, 1, 243): "riscv64", program(1, 1, 8): "mipsle", program(2, 1, 8): "mips64le", program(2, 1, 21): "ppc64le",
		"\x7fELF\x02\x02" + strings.Repeat("\x00", 13) + "\x16": "s390x", "\x7fELF": "", "#!/bin/sh\n": "", "": "",
	} {
		if got := elf([]byte(head)); got != want {
			t.Errorf("%q: %s, want %s", head, got, want)
		}
	}
}

func FuzzRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nVERSION_ID=\"12\"\n"))
	f.Add([]byte("ID='"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, got := range []string{first(release(text)), elf(text)} {
			if got != "" && !isWord(got) {
				t.Errorf("%q gives %q", text, got)
			}
		}
	})
}

func first(s, _ string) string { return s }
