package identity

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/layer"
)

func TestMain(m *testing.M) { need.Main(m) }

const base = 524288

// world is a guest's own layer over an image with these files, "path": "text".
func world(t *testing.T, files map[string]string) (*layer.Root, string) {
	t.Helper()
	need.Root(t)
	lower, upper := t.TempDir(), t.TempDir()
	for name, text := range files {
		p := filepath.Join(lower, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := layer.Open(upper, []string{lower}, base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, upper
}

func text(t *testing.T, r *layer.Root, p string) string {
	t.Helper()
	b, err := r.Read(p, 1<<20)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestApply(t *testing.T) {
	files := map[string]string{
		"etc/hostname": "image\n", "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 image\n192.0.2.9 other\n",
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\n", "etc/shadow": "root:$6$known:1:0:99999:7:::\ndaemon:*:1::::::\n",
		"etc/ssh/sshd_config": "", "etc/ssh/ssh_host_rsa_key": "known", "etc/ssh/ssh_host_ed25519_key": "known",
		"etc/machine-id": "00000000000000000000000000000001\n", "var/lib/dbus/machine-id": "x", "var/lib/systemd/random-seed": "x",
		"var/lib/systemd/credential.secret": "x", "root/.profile": "",
	}
	id := Identity{
		Hostname: "web1.example.org", Address: netip.MustParseAddr("192.0.2.10"),
		Resolver:       Resolver{Servers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, Search: []string{"example.org"}},
		AuthorizedKeys: []string{"ssh-ed25519 AAAA a", "ssh-rsa BBBB b"},
	}
	seen := map[string]bool{}
	for range 2 {
		r, upper := world(t, files)
		if err := id.Apply(r); err != nil {
			t.Fatal(err)
		}
		for p, want := range map[string]string{
			"etc/hostname":              "web1.example.org\n",
			"etc/shadow":                "root:*:1:0:99999:7:::\ndaemon:*:1::::::\n",
			"root/.ssh/authorized_keys": "ssh-ed25519 AAAA a\nssh-rsa BBBB b\n",
			"etc/passwd":                files["etc/passwd"],
		} {
			if got := text(t, r, p); got != want {
				t.Errorf("%s: %q, want %q", p, got, want)
			}
		}
		if got := text(t, r, "etc/hosts"); !strings.Contains(got, "192.0.2.10\tweb1.example.org web1\n") ||
			!strings.Contains(got, "192.0.2.9 other\n") || strings.Contains(got, "image") || !strings.Contains(got, "::1\t") {
			t.Errorf("hosts: %q", got)
		}
		if got := text(t, r, "etc/resolv.conf"); !strings.Contains(got, "nameserver 192.0.2.53\nsearch example.org\n") {
			t.Errorf("resolv.conf: %q", got)
		}
		for _, p := range []string{"etc/ssh/ssh_host_rsa_key", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret"} {
			if _, err := r.Stat(p); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: still there: %v", p, err)
			}
		}
		machine := text(t, r, "etc/machine-id")
		if len(machine) != 33 || strings.Trim(machine, "0123456789abcdef\n") != "" || machine == files["etc/machine-id"] {
			t.Errorf("machine-id: %q", machine)
		}
		key := text(t, r, "etc/ssh/ssh_host_ed25519_key")
		if seen[machine] || seen[key] {
			t.Error("two guests have the same machine id or key")
		}
		seen[machine], seen[key] = true, true
		for p, perm := range map[string]os.FileMode{"root/.ssh": 0o700, "root/.ssh/authorized_keys": 0o600, "etc/ssh/ssh_host_ecdsa_key": 0o600} {
			st, err := os.Lstat(filepath.Join(upper, p))
			if err != nil || st.Mode().Perm() != perm || st.Sys().(*syscall.Stat_t).Uid != base {
				t.Errorf("%s: %v, %v", p, st.Mode(), err)
			}
		}
	}
}

// TestLinkedMachineID: a link to the machine id says nothing of a system, and stays where it is.
func TestLinkedMachineID(t *testing.T) {
	need.Root(t)
	lower, upper := t.TempDir(), t.TempDir()
	dir := filepath.Join(lower, "var/lib/dbus")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Symlink("/etc/machine-id", filepath.Join(dir, "machine-id"))); err != nil {
		t.Fatal(err)
	}
	r, err := layer.Open(upper, []string{lower}, base)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := (Identity{Hostname: "web1"}).Apply(r); err != nil {
		t.Fatal(err)
	}
	if to, err := r.Readlink("var/lib/dbus/machine-id"); err != nil || to != "/etc/machine-id" {
		t.Errorf("%q, %v", to, err)
	}
	if left, err := os.ReadDir(upper); err != nil || len(left) != 1 {
		t.Errorf("more than etc was made: %v, %v", left, err)
	}
}

// TestSSHKeys has OpenSSH read the keys: what they say of themselves must agree.
func TestSSHKeys(t *testing.T) {
	keygen := need.Command(t, "ssh-keygen")
	for range 8 { // the length of a number differs now and then
		r, upper := world(t, map[string]string{"etc/ssh/sshd_config": ""})
		if err := (Identity{Hostname: "h"}).Apply(r); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"ed25519", "ecdsa"} {
			p := filepath.Join(upper, "etc/ssh/ssh_host_"+kind+"_key")
			out, err := exec.Command(keygen, "-y", "-f", p).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v: %s", kind, err, out)
			}
			pub := text(t, r, "etc/ssh/ssh_host_"+kind+"_key.pub")
			if string(out) != pub || !strings.HasSuffix(pub, " root@h\n") {
				t.Errorf("%s: %q, public file %q", kind, out, pub)
			}
		}
	}
}

func TestNoSSHD(t *testing.T) {
	r, upper := world(t, map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\n"})
	if err := (Identity{Hostname: "h"}).Apply(r); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(upper + "/etc/ssh"); err == nil {
		t.Error("keys for no sshd")
	}
}

func TestRootPassword(t *testing.T) {
	const hash = "$6$salt$hash"
	for _, c := range []struct {
		what           string
		passwd, shadow string
		id             Identity
		want           string // root's field, where it counts
	}{
		{"locked", "root:x:0:0::/:/bin/sh\n", "root:known:1::::::\n", Identity{}, "*"},
		{"empty password", "root::0:0::/:/bin/sh\n", "", Identity{}, "*"},
		{"empty in shadow", "root:x:0:0::/:/bin/sh\n", "root::1::::::\n", Identity{}, "*"},
		{"hash in passwd", "root:known:0:0::/:/bin/sh\n", "root:*:1::::::\n", Identity{}, "*"},
		{"asked", "root:x:0:0::/:/bin/sh\n", "root:*:1::::::\n", Identity{RootPassword: hash}, hash},
		{"asked, no shadow", "root:x:0:0::/:/bin/sh\n", "", Identity{RootPassword: hash}, hash},
		{"no root in shadow", "root:x:0:0::/:/bin/sh\n", "daemon:*:1::::::\n", Identity{}, "*"},
		{"kept", "root:x:0:0::/:/bin/sh\n", "root:known:1::::::\n", Identity{KeepAccounts: true}, "known"},
		{"kept but asked", "root:x:0:0::/:/bin/sh\n", "root:known:1::::::\n", Identity{KeepAccounts: true, RootPassword: hash}, hash},
	} {
		t.Run(c.what, func(t *testing.T) {
			files := map[string]string{"etc/passwd": c.passwd}
			if c.shadow != "" {
				files["etc/shadow"] = c.shadow
			}
			r, _ := world(t, files)
			c.id.Hostname = "h"
			if err := c.id.Apply(r); err != nil {
				t.Fatal(err)
			}
			field := func(p string) string {
				for line := range strings.Lines(text(t, r, p)) {
					if f := strings.Split(line, ":"); f[0] == "root" {
						return f[1]
					}
				}
				return "no root"
			}
			got := field("etc/passwd")
			if c.shadow != "" {
				if got != "x" {
					t.Errorf("passwd: %q", got)
				}
				got = field("etc/shadow")
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	for _, id := range []Identity{
		{Hostname: "h", RootPassword: "a:b"}, {Hostname: "h", RootPassword: "a\nroot2::0:0::/:/bin/sh"},
		{Hostname: "h", AuthorizedKeys: []string{"ssh-rsa AAAA\nssh-rsa BBBB"}}, {Hostname: "h", AuthorizedKeys: []string{"word"}},
	} {
		r, _ := world(t, map[string]string{"etc/passwd": "root:x:0:0::/:/bin/sh\n"})
		if err := id.Apply(r); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%+v: %v", id, err)
		}
	}
}

// TestHostileTree applies an identity to trees whose every file of interest is a link to
// the host's: nothing outside may change.
func TestHostileTree(t *testing.T) {
	need.Root(t)
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("root:alive:0:0::/:/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := Identity{Hostname: "h", RootPassword: "x", AuthorizedKeys: []string{"ssh-rsa AAAA"}}
	paths := []string{"etc", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/machine-id", "etc/passwd", "etc/shadow", "etc/ssh",
		"etc/ssh/sshd_config", "etc/ssh/ssh_host_ed25519_key", "root", "root/.ssh", "root/.ssh/authorized_keys",
		"var", "var/lib", "var/lib/systemd", "var/lib/dbus/machine-id"}
	for _, evil := range paths {
		for _, what := range []string{"link to a file", "link to a directory", "fifo", "directory", "large"} {
			for _, where := range []string{"upper", "lower"} {
				dirs := map[string]string{"upper": t.TempDir(), "lower": t.TempDir()}
				at := dirs[where]
				for _, p := range paths {
					if strings.HasPrefix(p, evil) {
						continue
					}
					full := filepath.Join(at, p)
					os.MkdirAll(filepath.Dir(full), 0o755)
					os.WriteFile(full, []byte("root:x:0:0::/:/bin/sh\n"), 0o644)
					if st, err := os.Stat(full); err != nil || !st.IsDir() && strings.Contains("etc root var etc/ssh root/.ssh var/lib var/lib/systemd", p) {
						os.Remove(full)
						os.Mkdir(full, 0o755)
					}
				}
				full := filepath.Join(at, evil)
				os.MkdirAll(filepath.Dir(full), 0o755)
				switch what {
				case "link to a file":
					os.Symlink(canary, full)
				case "link to a directory":
					os.Symlink(outside, full)
				case "fifo":
					syscall.Mkfifo(full, 0o644)
				case "directory":
					os.Mkdir(full, 0o755)
				case "large":
					os.WriteFile(full, nil, 0o644)
					os.Truncate(full, 1<<40)
				}
				r, err := layer.Open(dirs["upper"], []string{dirs["lower"]}, base)
				if err != nil {
					t.Fatal(err)
				}
				id.Apply(r) // may well be an error
				r.Close()
				if b, err := os.ReadFile(canary); err != nil || !strings.Contains(string(b), "alive") {
					t.Fatalf("%s %s in %s: the host's file: %q, %v", evil, what, where, b, err)
				}
				if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
					t.Fatalf("%s %s in %s: outside: %v, %v", evil, what, where, entries, err)
				}
				if st, err := os.Stat(outside); err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
					t.Fatalf("%s %s in %s: outside was given away", evil, what, where)
				}
			}
		}
	}
}

// A machine id that is no file makes room for one.
func TestOddMachineID(t *testing.T) {
	for _, in := range []string{"image", "guest"} {
		r, upper := world(t, map[string]string{"etc/machine-id/x": "image"})
		if in == "guest" {
			if err := os.MkdirAll(filepath.Join(upper, "etc/machine-id/x"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := (Identity{Hostname: "h"}).Apply(r); err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got := text(t, r, "etc/machine-id"); len(got) != 33 {
			t.Errorf("%s: %q", in, got)
		}
	}
}

func TestApplyNameAgain(t *testing.T) {
	r, _ := world(t, map[string]string{"etc/passwd": ""})
	first := Identity{Hostname: "one.example.org"}
	if err := first.Apply(r); err != nil {
		t.Fatal(err)
	}
	before := text(t, r, "etc/machine-id")
	second := Identity{Hostname: "two", Address: netip.MustParseAddr("2001:db8::1")}
	for range 2 {
		if err := second.ApplyName(r); err != nil {
			t.Fatal(err)
		}
	}
	if got := text(t, r, "etc/hosts"); strings.Contains(got, "one") || strings.Count(got, "2001:db8::1\ttwo\n") != 1 || strings.Contains(got, "127.0.1.1") {
		t.Errorf("hosts: %q", got)
	}
	if text(t, r, "etc/machine-id") != before {
		t.Error("another machine id")
	}
}

func TestHostResolver(t *testing.T) {
	for _, c := range []struct {
		what, conf, upstream string
		loopback             bool
		want                 string
	}{
		{"plain", "nameserver 192.0.2.1\nsearch a b\n", "", false, "nameserver 192.0.2.1\nsearch a b\n"},
		{"stub", "nameserver 127.0.0.53\noptions edns0\nsearch a\n", "nameserver 192.0.2.2\nnameserver 2001:db8::53\n", false,
			"nameserver 192.0.2.2\nnameserver 2001:db8::53\nsearch a\noptions edns0\n"},
		{"stub, search from above", "nameserver 127.0.0.53\n", "nameserver 192.0.2.2\nsearch up\n", false, "nameserver 192.0.2.2\nsearch up\n"},
		{"own server", "nameserver 127.0.0.1\nnameserver 192.0.2.1\n", "nameserver 192.0.2.2\n", false, "nameserver 192.0.2.1\n"},
		{"own server alone", "nameserver ::1\n", "", false, ""},
		{"own server, own network", "nameserver 127.0.0.53\n", "nameserver 192.0.2.2\n", true, "nameserver 127.0.0.53\n"},
		{"odd lines", "# c\nnameserver\nnameserver x y\nnameserver 192.0.2.1 # c\nsortlist z\n", "", false, "nameserver 192.0.2.1\n"},
		{"none", "", "", false, ""},
	} {
		root := t.TempDir()
		for p, s := range map[string]string{"etc/resolv.conf": c.conf, "run/systemd/resolve/resolv.conf": c.upstream} {
			if s == "" {
				continue
			}
			p = filepath.Join(root, p)
			if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(s), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		r, err := HostResolver(root, c.loopback)
		if err != nil {
			t.Error(err)
		}
		if _, got, _ := strings.Cut(r.String(), "\n"); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n127.0.1.1 old old2\n", "old", "root::0:0\n", "nameserver 1.2.3.4\n")
	f.Fuzz(func(t *testing.T, hosts, old, passwd, resolv string) {
		out := hostsFile(hosts, old, "new.example.org", netip.Addr{})
		if !strings.Contains(out, "127.0.1.1\tnew.example.org new\n") {
			t.Errorf("%q", out)
		}
		if again := hostsFile(out, "new.example.org", "new.example.org", netip.Addr{}); strings.Count(again, "\tnew.example.org new\n") != 1 {
			t.Errorf("twice: %q", again)
		}
		got := setField(passwd, "*", "root:*:0:0")
		if !strings.Contains(got, "root:*") {
			t.Errorf("%q", got)
		}
		parseResolver(resolv)
	})
}

func BenchmarkApply(b *testing.B) {
	need.Root(b)
	lower := b.TempDir()
	os.MkdirAll(lower+"/etc/ssh", 0o755)
	os.WriteFile(lower+"/etc/ssh/sshd_config", nil, 0o644)
	for b.Loop() {
		r, err := layer.Open(b.TempDir(), []string{lower}, base)
		if err != nil {
			b.Fatal(err)
		}
		if err := (Identity{Hostname: "h"}).Apply(r); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
