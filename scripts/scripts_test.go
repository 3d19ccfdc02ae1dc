// Package scripts_test runs the scripts of this directory for real.
package scripts_test

import (
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// script runs one of the scripts with the program under test, and gives what it said.
func script(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	c := exec.Command("./"+name, args...)
	c.Env = append(os.Environ(), need.BinaryVar+"="+need.Binary(t))
	c.Env = append(c.Env, env...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// files lists what is below dir and is no directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			p, err = filepath.Rel(dir, p)
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dest")
	other := filepath.Join(dir, "opt/sbin/other")
	if err := os.MkdirAll(filepath.Dir(other), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script(t, nil, "install", dir, "/opt")
	got := files(t, dir)
	for _, want := range []string{
		"opt/sbin/vserver", "opt/sbin/vserverd", "opt/sbin/vserver-stat", "opt/sbin/vps", "opt/sbin/vtop", "opt/sbin/vkill", "opt/sbin/vwait",
		"opt/sbin/chbind", "opt/sbin/chcontext", "opt/sbin/vcontext", "opt/sbin/lsxid", "opt/sbin/vrsetup", "opt/share/man/man8/chcontext.8.gz", "opt/share/man/man8/lsxid.8.gz", "opt/share/man/man8/vunify.8.gz",
		"opt/lib/util-vserver/util-vserver-vars",
		"opt/share/man/man8/vserver.8.gz", "opt/share/man/man8/vserver-start.8.gz", "opt/share/bash-completion/completions/vserver",
		"opt/share/zsh/site-functions/_vserver", "etc/fish/completions/vserver.fish", "opt/share/doc/vserver/README.md",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s was not installed", want)
		}
	}
	if info, err := os.Stat(filepath.Dir(other)); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("a directory that was there has become %v, %v", info.Mode(), err)
	}
	if out, err := exec.Command(filepath.Join(dir, "opt/sbin/vserver-stat"), "--help").CombinedOutput(); err != nil {
		t.Errorf("vserver-stat --help: %v\n%s", err, out)
	}
	script(t, nil, "install", "--remove", dir, "/opt")
	if got := files(t, dir); !slices.Equal(got, []string{"opt/sbin/other"}) {
		t.Errorf("uninstalled, but there is %q", got)
	}
}

// TestCompletions has each shell read its own, and asks it whether it looks there.
func TestCompletions(t *testing.T) {
	paths := map[string]string{"zsh": "print -l $fpath", "fish": `string join \n $fish_complete_path`}
	for prefix, files := range map[string]map[string]string{
		"/usr": {
			"bash": "/usr/share/bash-completion/completions/vserver",
			"zsh":  "/usr/share/zsh/vendor-completions/_vserver",
			"fish": "/usr/share/fish/vendor_completions.d/vserver.fish",
		},
		"/usr/local": {
			"bash": "/usr/local/share/bash-completion/completions/vserver",
			"zsh":  "/usr/local/share/zsh/site-functions/_vserver",
			"fish": "/etc/fish/completions/vserver.fish",
		},
	} {
		dir := filepath.Join(t.TempDir(), "dest")
		script(t, nil, "install", dir, prefix)
		for shell, file := range files {
			t.Run(shell+prefix, func(t *testing.T) {
				program := need.Command(t, shell)
				if out, err := exec.Command(program, "-n", filepath.Join(dir, file)).CombinedOutput(); err != nil || len(out) > 0 {
					t.Errorf("%v\n%s", err, out)
				}
				if paths[shell] == "" {
					return
				}
				out, err := exec.Command(program, "-c", paths[shell]).Output()
				if err != nil || !slices.Contains(strings.Fields(string(out)), filepath.Dir(file)) {
					t.Errorf("%s is not among where it looks: %v\n%s", file, err, out)
				}
			})
		}
	}
}

func TestManualIsWellFormed(t *testing.T) {
	man := need.Command(t, "man")
	dir := filepath.Join(t.TempDir(), "dest")
	script(t, nil, "install", dir, "/usr")
	pages, err := filepath.Glob(filepath.Join(dir, "usr/share/man/man8/*.gz"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, p := range pages {
		name := strings.TrimSuffix(filepath.Base(p), ".8.gz")
		c := exec.Command(man, "--warnings", "-E", "UTF-8", "-Tutf8", "-M", filepath.Join(dir, "usr/share/man"), "8", name)
		c.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8")
		var warnings strings.Builder
		c.Stderr = &warnings
		if err := c.Run(); err != nil || warnings.Len() > 0 {
			t.Errorf("%s: %v\n%s", name, err, &warnings)
		}
	}
}

func TestDeb(t *testing.T) {
	need.Root(t) // the package's files must be root's
	dpkg := need.Command(t, "dpkg-deb")
	dir := t.TempDir()
	script(t, []string{"DIST=" + dir}, "deb", "1.2.3", "amd64")
	deb := filepath.Join(dir, "vserver_1.2.3_amd64.deb")
	out, err := exec.Command(dpkg, "--field", deb, "Package", "Version").CombinedOutput()
	if err != nil || string(out) != "Package: vserver\nVersion: 1.2.3\n" {
		t.Errorf("fields %q, %v", out, err)
	}
	tree := filepath.Join(dir, "tree")
	if out, err := exec.Command(dpkg, "-R", deb, tree).CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, out)
	}
	c := exec.Command("md5sum", "--check", "--quiet", "DEBIAN/md5sums")
	c.Dir = tree
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("md5sums: %v\n%s", err, out)
	}
	if info, err := os.Stat(filepath.Join(tree, "var/lib/vservers")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("var/lib/vservers: %v, %v; want 0700", info, err)
	}
}

// TestDemo is the newcomer's first look.
func TestDemo(t *testing.T) {
	need.Root(t)
	need.Overlay(t)
	need.Distribution(t)
	dir := filepath.Join(t.TempDir(), "dest")
	script(t, nil, "install", dir, "/usr")
	out := script(t, []string{"VSERVER_BIN=" + filepath.Join(dir, "usr/sbin")}, "demo")
	for _, want := range []string{"$ vserver start demo", "uid=0(root)", "running", "$ vserver delete demo --force"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in what it says:\n%s", want, out)
		}
	}
}

// TestCross builds for other processors and runs that: a newcomer's Raspberry Pi.
func TestCross(t *testing.T) {
	need.Long(t)
	need.Command(t, "qemu-aarch64-static")
	need.Command(t, "qemu-arm-static")
	c := exec.Command(need.Command(t, "make"), "-s", "-C", "..", "cross", "DIST="+t.TempDir(), "VERSION=1.2.3")
	out, err := c.CombinedOutput()
	if err != nil || string(out) != strings.Repeat("vserver 1.2.3\nunpacked\n", 2) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSizeAndLinkage holds what is promised of the program: one file that needs no
// other, of at most 25 MB.
func TestSizeAndLinkage(t *testing.T) {
	path := need.Binary(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	const promised = 25 << 20
	if info.Size() > promised {
		t.Errorf("%d bytes, promised %d", info.Size(), promised)
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program is linked dynamically")
		}
	}
}

// TestHelp sees that make help names every target that the Makefile says is one.
func TestHelp(t *testing.T) {
	c := exec.Command(need.Command(t, "make"), "-s", "-C", "..", "help")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if targets, ok := strings.CutPrefix(line, ".PHONY:"); ok {
			for target := range strings.FieldsSeq(targets) {
				if !strings.Contains(string(out), "make "+target+" ") {
					t.Errorf("make help does not name %s", target)
				}
			}
		}
	}
}
