package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
)

// fakeTool puts a shell script of this name in front of PATH.
func fakeTool(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func fill(t *testing.T, s Source) (dir string, lines []string, err error) {
	t.Helper()
	dir = t.TempDir()
	err = s.Fill(t.Context(), dir, func(line string) { lines = append(lines, line) })
	return dir, lines, err
}

func TestDebootstrapFake(t *testing.T) {
	need.Root(t)
	fakeTool(t, "debootstrap", `
for last; do :; done
for a; do echo "arg $a"; done
eval "target=\${$(($# - 1))}"
mkdir -p "$target/debootstrap" "$target/etc/apt" "$target/etc/default" "$target/usr/sbin" "$target/var/log" "$target/var/cache/apt/archives/partial" "$target/var/lib/apt/lists/partial"
for f in debootstrap/log var/log/dpkg.log etc/resolv.conf etc/hostname usr/sbin/policy-rc.d var/cache/apt/archives/x.deb var/lib/apt/lists/x; do echo x >"$target/$f"; done
echo old >"$target/etc/old"; touch -d @1700000000 "$target/etc/old"; echo new >"$target/etc/new"; : >"$target/etc/empty"
echo "I: Retrieving adduser 3.1"; echo "I: Retrieving apt 2.6"; echo "I: Configuring systemd..."
printf 'I: Unpacking \033[31mevil...\n'
`)
	dir, lines, err := fill(t, Debootstrap(DebootstrapOptions{
		Suite: "trixie", Mirror: "https://mirror.example/debian", Packages: []string{"nginx", "sudo"}, Keyring: "/k.gpg",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"retrieving package 2: apt", "configuring package 1: systemd", "unpacking package 1: [31mevil"} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %q in %q", want, lines)
		}
	}
	for _, gone := range []string{"debootstrap", "var/log/dpkg.log", "etc/resolv.conf", "etc/hostname", "usr/sbin/policy-rc.d", "var/cache/apt/archives/x.deb", "var/lib/apt/lists/x"} {
		if _, err := os.Lstat(filepath.Join(dir, gone)); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	for p, want := range map[string]string{
		"etc/apt/sources.list": "deb https://mirror.example/debian trixie main\n", "etc/default/locale": "LANG=C.UTF-8\n",
	} {
		if b, err := os.ReadFile(filepath.Join(dir, p)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
	for p, want := range map[string]bool{"old": true, "new": true, "apt/sources.list": true, "empty": false, ".updated": false} {
		st, err := os.Stat(filepath.Join(dir, "etc", p))
		if err != nil || st.ModTime().Equal(time.Unix(1700000000, 0)) != want {
			t.Errorf("%s: %v, %v", p, st, err)
		}
	}
}

func TestDebootstrapFails(t *testing.T) {
	need.Root(t)
	fakeTool(t, "debootstrap", "echo 'I: x'; echo 'E: Release signed by unknown key'; echo done; exit 1\n")
	_, _, err := fill(t, Debootstrap(DebootstrapOptions{Suite: "bookworm"}))
	if err == nil || err.Error() != "debootstrap: E: Release signed by unknown key" {
		t.Errorf("got %v", err)
	}
	t.Setenv("PATH", "/nowhere")
	_, _, err = fill(t, Debootstrap(DebootstrapOptions{Suite: "bookworm"}))
	if !errors.Is(err, guest.ErrUnsupported) || fault.HintOf(err) != "apt-get install debootstrap" {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
}

func TestDebootstrapOptions(t *testing.T) {
	good := DebootstrapOptions{Suite: "bookworm", Mirror: "http://m/debian"}
	s, err := good.settle()
	if err != nil || !slices.Contains(s.Packages, "systemd-sysv") || s.Variant != "minbase" {
		t.Errorf("%+v, %v", s, err)
	}
	good.Packages = []string{"sysvinit-core"}
	if s, err := good.settle(); err != nil || slices.Contains(s.Packages, "systemd-sysv") {
		t.Errorf("%+v, %v", s, err)
	}
	for _, odd := range []string{"-x", "--include=x", "a b", "a\nb", "a;b", "$(x)", "a,b", "../x", "ä", "'"} {
		for what, o := range map[string]DebootstrapOptions{
			"suite":   {Suite: odd, Mirror: "http://m/"},
			"mirror":  {Suite: "sid", Mirror: odd},
			"variant": {Suite: "sid", Mirror: "http://m/", Variant: odd},
			"package": {Suite: "sid", Mirror: "http://m/", Packages: []string{odd}},
			"keyring": {Suite: "sid", Mirror: "http://m/", Keyring: odd},
		} {
			if _, err := o.settle(); !errors.Is(err, guest.ErrInvalid) {
				t.Errorf("%s %q: %v", what, odd, err)
			}
		}
	}
	a, err1 := Debootstrap(DebootstrapOptions{Suite: "sid", Mirror: "http://m/"}).Name(t.Context())
	b, err2 := Debootstrap(DebootstrapOptions{Suite: "sid", Mirror: "http://m/", Packages: []string{"vim"}}).Name(t.Context())
	if err1 != nil || err2 != nil || a == b || !strings.HasPrefix(a, "sid-minbase-") {
		t.Errorf("%s %s", a, b)
	}
}

// TestDebootstrapScript: a script is the last word of the command, and by its text another
// image is made.
func TestDebootstrapScript(t *testing.T) {
	need.Root(t)
	fakeTool(t, "debootstrap", `for last; do :; done; echo "E: $last"; exit 1`)
	at := filepath.Join(t.TempDir(), "lenny")
	o := DebootstrapOptions{Suite: "lenny", Mirror: "http://m/", Script: at}
	if _, err := o.settle(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such script: %v", err)
	}
	var names []string
	for _, text := range []string{"one", "two"} {
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		n, err := Debootstrap(o).Name(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	if names[0] == names[1] {
		t.Errorf("one name for two scripts: %s", names[0])
	}
	if _, _, err := fill(t, Debootstrap(o)); err == nil || err.Error() != "debootstrap: E: "+at {
		t.Errorf("%v", err)
	}
}

func TestKnownSuite(t *testing.T) {
	dir := t.TempDir()
	if err := knownSuite(filepath.Join(dir, "none"), "any"); err != nil {
		t.Errorf("without debootstrap: %v", err)
	}
	os.WriteFile(filepath.Join(dir, "trixie"), nil, 0o644)
	for suite, want := range map[string]string{"trixie": "", "trixe": "did you mean trixie?", "zesty": "bookworm is one"} {
		if err := knownSuite(dir, suite); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", suite, err)
		}
	}
}

// TestDebootstrap installs a real system.
func TestDebootstrap(t *testing.T) {
	need.Root(t)
	need.Long(t)
	need.Command(t, "debootstrap")
	need.Mirror(t)
	dir, lines, err := fill(t, Debootstrap(DebootstrapOptions{Suite: "bookworm"}))
	if err != nil {
		t.Fatal(err, lines[max(0, len(lines)-5):])
	}
	for _, p := range []string{"usr/sbin/sshd", "usr/lib/systemd/systemd", "usr/bin/sudo", "usr/sbin/cron", "usr/bin/ping", "sbin/init", "etc/apt/sources.list"} {
		if _, err := os.Lstat(filepath.Join(dir, p)); err != nil {
			t.Error(err)
		}
	}
	for _, p := range []string{"debootstrap", "usr/sbin/policy-rc.d", "proc/self", "sys/kernel"} {
		if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
			t.Errorf("%s is there", p)
		}
	}
}

// TestToolDies cancels a tool that started a child and mounted: nothing of it is left.
func TestToolDies(t *testing.T) {
	need.Root(t)
	dir := need.TempDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan bool, 1)
	tool := tool{
		name: "sh", args: []string{"-c", "mount -t tmpfs x " + dir + "; (trap '' TERM HUP INT; sleep 7731) & echo started; trap '' TERM; wait"},
		line: func(string) { started <- true },
	}
	done := make(chan error)
	go func() { done <- tool.run(ctx) }()
	select {
	case <-started:
	case err := <-done:
		t.Fatal(err)
	}
	if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), dir) {
		t.Error("the tool's mount is seen here")
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
	}
	for range 100 {
		if !running(t, "sleep\x007731") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the tool's child lives on")
}

func running(t *testing.T, cmdline string) bool {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(p string) bool {
		b, _ := os.ReadFile(p)
		return strings.HasPrefix(string(b), cmdline)
	})
}

func TestReadApt(t *testing.T) {
	for what, c := range map[string]struct {
		files map[string]string
		want  aptSources
	}{
		"none": {nil, aptSources{mirror: officialMirror}},
		"one line": {map[string]string{"sources.list": "# deb http://no/debian x main\ndeb [arch=amd64 signed-by=/x y] http://m/debian bookworm main contrib\n" +
			"deb-src http://s/debian bookworm main\ndeb http://m/debian bookworm-updates main\ndeb http://sec/debian-security bookworm-security main\n"},
			aptSources{"http://m/debian", true, "http://sec/debian-security"}},
		"deb822": {map[string]string{"sources.list.d/debian.sources": "Types: deb deb-src\n# URIs: http://no\nURIs: http://m/debian\nSuites: trixie trixie-updates\n" +
			"Components: main\n\nTypes: deb\nURIs: http://sec/\nSuites: trixie-security\nComponents: main\nEnabled: yes\n\nTypes: deb\nEnabled: no\nURIs: http://off/debian\nSuites: sid\nComponents: main\n"},
			aptSources{"http://m/debian", true, "http://sec/"}},
		"third party first": {map[string]string{"sources.list.d/a.list": "deb https://other.example/repo stable main\n", "sources.list.d/b.list": "deb http://m/debian sid main\n"},
			aptSources{mirror: "http://m/debian"}},
	} {
		etc := t.TempDir()
		for p, text := range c.files {
			full := filepath.Join(etc, "apt", p)
			if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if got := readApt(etc); got != c.want {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
		o := DebootstrapOptions{Suite: "trixie", Mirror: c.want.mirror, Etc: etc}
		if got := o.sources(); c.want.security != "" && strings.Count(got, "\n") != 3 || !strings.HasPrefix(got, "deb "+c.want.mirror+" trixie main\n") {
			t.Errorf("%s: %q", what, got)
		}
	}
}

func TestImageName(t *testing.T) {
	a := imageName([]string{"My Image:v1", "../x"}, "a", "b")
	if !strings.HasPrefix(a, "My-Image-v1-x-") {
		t.Error(a)
	}
	if a == imageName([]string{"My Image:v1", "../x"}, "ab") || a == imageName([]string{"My Image:v1", "../x"}, "a", "c") {
		t.Error("two contents have one name")
	}
	if got := imageName([]string{"../..", "-"}, "x"); strings.ContainsAny(got, "/.-") {
		t.Error(got)
	}
}

func FuzzLines(f *testing.F) {
	f.Add("I: Retrieving x\r\x1b[2J", "E: y\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		var lines []string
		w := &lineWriter{say: func(s string) { lines = append(lines, s) }}
		fmt.Fprint(w, a)
		fmt.Fprint(w, b, "\n")
		for _, l := range lines {
			if strings.ContainsAny(l, "\x1b\n\r\x00") {
				t.Errorf("%q", l)
			}
		}
	})
}

// A program that found the disk full is an error that is ENOSPC, with a hint, and
// whatever it said in the end.
func TestToolFull(t *testing.T) {
	for name, script := range map[string]string{
		"rsync": `printf '  32,768 0%% 0.00kB/s \rsync-progress rsync: [receiver] write failed on "/x": No space left on device (28)\n'
echo 'rsync error: error in file IO (code 11)'; echo 'rsync: [sender] write error: Broken pipe (32)'; exit 11`,
		"debootstrap": `echo 'I: Extracting x...'; echo 'tar: ./usr/x: Cannot write: No space left on device'
echo 'E: Tried to extract package, but tar failed. Exit...'; exit 1`,
	} {
		t.Run(name, func(t *testing.T) {
			need.Root(t)
			fakeTool(t, name, script)
			err := tool{name: name}.run(t.Context())
			if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "Broken pipe") {
				t.Errorf("%v", err)
			}
			t.Log(err)
		})
	}
}
