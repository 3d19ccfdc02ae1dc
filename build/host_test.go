package build

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// secret is in everything that must not reach a guest.
const secret = "hunter2-the-secret"

// fakeHost makes the root of a host with what should be shared and what must not.
func fakeHost(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	put := func(mode os.FileMode, p string, text ...string) {
		t.Helper()
		full := filepath.Join(root, p)
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		if err == nil {
			err = os.WriteFile(full, []byte(strings.Join(text, "")), mode)
		}
		if err = errors.Join(err, os.Chmod(full, mode)); err != nil {
			t.Fatal(err)
		}
	}
	putSecrets(t, root, put)
	putWanted(put)
	putLinks(t, root)
	return root
}

func putSecrets(t *testing.T, root string, put func(os.FileMode, string, ...string)) {
	t.Helper()
	put(0o644, "etc/passwd", "root:"+secret+":0:0:root:/root:/usr/local/bin/fish\ndaemon:x:1:1::/:/bin/false\n"+
		"alice:x:1000:1000:"+secret+":/home/alice:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n+nis::::::\nbroken\n")
	put(0o644, "etc/group", "root:x:0:alice,daemon\nshadow:x:42:\nsudo:"+secret+":27:alice\nalice:x:1000:\nnogroup:x:65534:\n")
	put(0o640, "etc/shadow", "root:"+secret+":1::::::\n")
	put(0o640, "etc/gshadow", "root:"+secret+"::\n")
	for _, p := range []string{
		"machine-id", "hostname", "hosts", "resolv.conf", "fstab", "crypttab", "mtab", "subuid", "shadow-", "passwd-", "group-",
		"ssh/ssh_host_rsa_key", "ssh/ssh_host_rsa_key.pub", "ssh/ssh_host_ed25519_key", "vservers/web1.yaml", "lxc/default.conf",
		"network/interfaces", "network/interfaces.d/eth0", "netplan/01.yaml", "NetworkManager/system-connections/wifi", "systemd/network/x.network",
		"wireguard/wg0.conf", "openvpn/client.conf", "ssl/private/site.key", "letsencrypt/live/site/privkey.pem", "krb5.keytab", "http.keytab",
		"cron.d/backup", "cron.daily/backup", "crontab", "sudoers.d/alice", "systemd/system/mine.service", "systemd/system/mine.service.d/env.conf",
		"default/mine", "profile.d/mine.sh", "apt/auth.conf", "apt/auth.conf.d/x", ".git/config", ".pwd.lock", "sssd/sssd.conf", "samba/smb.conf",
		"nginx/sites-enabled/site", "postgresql/15/main/pg_hba.conf", "mysql/debian.cnf", "docker/daemon.json", "kubernetes/admin.conf",
		"app/config.bak", "app/config~", "app/config.dpkg-old", "app/site.key", "app/id_rsa", "app/store.jks", "app/credentials.json", ".htpasswd",
		"gitconfig", "nftables.conf", "iptables/rules.v4", "motd", "issue", "exim4/passwd.client", "credstore/x", "cloud/cloud.cfg", "restic/env",
	} {
		put(0o644, "etc/"+p, secret)
	}
	put(0o600, "etc/app/private.conf", secret)
	put(0o644, "etc/closed/inside.conf", secret)
	if err := os.Chmod(root+"/etc/closed", 0o700); err != nil {
		t.Fatal(err)
	}
	put(0o644, "etc/app/pem.conf", "x\n-----BEGIN RSA PRIVATE KEY-----\n"+secret)
	put(0o644, "etc/app/url.conf", "proxy = http://user:"+secret+"@proxy/\n")
	put(0o644, "etc/app/token.conf", "api_key = "+secret+"\n")
	put(0o644, "etc/app/password.conf", "  DB_PASSWORD='"+secret+"'\n")
	put(0o644, "etc/people", secret)
	if err := os.Chown(root+"/etc/people", 1000, 1000); err != nil {
		t.Fatal(err)
	}
	put(0o644, "etc/app/big.db", secret, strings.Repeat("x", maxLook))

	put(0o644, "var/log/syslog", secret)
	put(0o644, "var/lib/app/cache/data", secret)
	put(0o644, "var/lib/hidden-customer/data", secret)
	put(0o644, "var/lib/apt/periodic/x", secret)
	put(0o644, "root/.ssh/authorized_keys", secret)
	put(0o644, "home/alice/x", secret)
	put(0o644, "srv/x", secret)
	put(0o644, "opt/x", secret)
}

// putWanted makes what a guest shall have, or what its place is taken by.
func putWanted(put func(os.FileMode, string, ...string)) {
	put(0o644, "etc/nsswitch.conf", "passwd: files\n")
	put(0o644, "etc/pam.d/common-auth", "auth required pam_unix.so\n")
	put(0o644, "etc/ld.so.cache", "cache")
	put(0o644, "etc/app/good.conf", "# password = example\nverbose = yes\n")
	put(0o644, "etc/skel/.bashrc", "alias")
	put(0o644, "etc/default/locale", "LANG=C.UTF-8\n")
	put(0o644, "etc/ssh/ssh_config", "Host *\n")
	const pristine = "0 3 * * * root true # password = none\n"
	sum := md5.Sum([]byte(pristine))
	put(0o644, "etc/cron.d/package", pristine)
	put(0o440, "etc/sudoers", pristine)
	put(0o644, "etc/cron.d/changed", secret)
	put(0o644, "var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nConffiles:\n /etc/cron.d/package "+hex.EncodeToString(sum[:])+
		"\n /etc/sudoers "+hex.EncodeToString(sum[:])+"\n /etc/cron.d/changed "+hex.EncodeToString(sum[:])+"\nDescription: x\n y z\n")
	put(0o644, "var/lib/dpkg/info/a.list", "/.\n/usr\n/var/lib/app\n/var/lib/app/cache\n/var/lib/secretapp\n")
	put(0o644, "var/lib/dpkg/lock", "")
	put(0o644, "var/lib/dpkg/status-old", secret)
	put(0o644, "var/lib/apt/extended_states", "states")
	put(0o755, "usr/bin/sudo", "x")
	put(0o644, "usr/share/openssh/sshd_config", "stock\n")
	put(0o644, "etc/ssh/sshd_config", "ListenAddress "+secret+"\n")
}

func putLinks(t *testing.T, root string) {
	t.Helper()
	for link, to := range map[string]string{
		"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "var/run": "/run",
		"etc/systemd/system/multi-user.target.wants/ssh.service":     "/lib/systemd/system/ssh.service",
		"etc/systemd/system/multi-user.target.wants/secret.service":  "/etc/systemd/system/" + secret,
		"etc/systemd/system/masked.service":                          "/dev/null",
		"etc/rc2.d/S01cron":                                          "../init.d/cron",
		"etc/rc2.d/S01secret":                                        "../init.d/" + secret,
		"etc/rc2.d/K01secret":                                        "../init.d/x",
		"etc/localtime":                                              "/usr/share/zoneinfo/UTC",
		"etc/systemd/system/multi-user.target.wants/another.service": secret,
	} {
		full := filepath.Join(root, link)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.Symlink(to, full)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(root+"/etc/fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"usr/local", "usr/src", "var/lib/secretapp"} {
		if err := os.MkdirAll(filepath.Join(root, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostAudit fills a skeleton from a host full of secrets, and looks for them.
func TestHostAudit(t *testing.T) {
	need.Root(t)
	s := Host(fakeHost(t))
	if !slices.Equal(s.Shared, []string{"/usr"}) || !slices.Contains(s.Hidden, "/usr/local") || !slices.Contains(s.Hidden, "/usr/src") {
		t.Errorf("shared %v, hidden %v", s.Shared, s.Hidden)
	}
	dir := t.TempDir()
	if err := s.Fill(t.Context(), dir, func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		text := p
		switch e.Type() {
		case 0:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text += string(b)
		case fs.ModeSymlink:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			text += to
		case fs.ModeDir:
		default:
			t.Errorf("%s: %v", p, e.Type())
		}
		if strings.Contains(text, secret) {
			t.Errorf("%s tells the secret", strings.TrimPrefix(p, dir))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	checkWanted(t, dir)
}

// checkWanted looks for what a guest needs.
func checkWanted(t *testing.T, dir string) {
	t.Helper()
	for p, want := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
		"etc/group":  "root:x:0:daemon\nshadow:x:42:\nsudo:x:27:\nnogroup:x:65534:\n",
		"etc/shadow": "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n",
		"etc/fstab":  "# A guest's file systems are mounted by the host.\n", "etc/nsswitch.conf": "passwd: files\n",
		"etc/pam.d/common-auth": "auth required pam_unix.so\n", "etc/skel/.bashrc": "alias", "etc/default/locale": "LANG=C.UTF-8\n",
		"etc/app/good.conf": "# password = example\nverbose = yes\n", "etc/ld.so.cache": "cache", "etc/ssh/sshd_config": "stock\n",
		"etc/cron.d/package": "0 3 * * * root true # password = none\n", "etc/sudoers": "0 3 * * * root true # password = none\n",
		"var/lib/apt/extended_states": "states", "var/lib/dpkg/info/a.list": "/.\n/usr\n/var/lib/app\n/var/lib/app/cache\n/var/lib/secretapp\n",
	} {
		if b, err := os.ReadFile(filepath.Join(dir, p)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
	for p, to := range map[string]string{
		"bin": "usr/bin", "var/run": "/run", "etc/localtime": "/usr/share/zoneinfo/UTC", "etc/systemd/system/masked.service": "/dev/null",
		"etc/systemd/system/multi-user.target.wants/ssh.service": "/lib/systemd/system/ssh.service", "etc/rc2.d/S01cron": "../init.d/cron",
	} {
		if got, err := os.Readlink(filepath.Join(dir, p)); err != nil || got != to {
			t.Errorf("%s: %q, %v", p, got, err)
		}
	}
	for p, mode := range map[string]os.FileMode{
		"etc/shadow": 0o640, "etc/sudoers": 0o440, "root": fs.ModeDir | 0o700, "tmp": fs.ModeDir | fs.ModeSticky | 0o777, "usr": fs.ModeDir | 0o755,
		"var/lib/app/cache": fs.ModeDir | 0o755, "var/lib/secretapp": fs.ModeDir | 0o755, "var/log": fs.ModeDir | 0o755, "etc/closed": fs.ModeDir | 0o700,
	} {
		if st, err := os.Lstat(filepath.Join(dir, p)); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", p, st, err)
		}
	}
	for _, p := range []string{"usr/bin", "var/lib/hidden-customer", "etc/rc2.d/S01secret", "etc/fifo", "var/lib/dpkg/lock", "etc/vservers", "etc/machine-id"} {
		if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
			t.Errorf("%s is there", p)
		}
	}
	st, err := os.Stat(filepath.Join(dir, "etc/shadow"))
	if err != nil || st.Sys().(*syscall.Stat_t).Gid != 42 {
		t.Errorf("shadow is not the group shadow's: %v", err)
	}
}

// TestHostName looks whether the name follows what the image is made of.
func TestHostName(t *testing.T) {
	need.Root(t)
	root := fakeHost(t)
	name := func() string {
		t.Helper()
		n, err := Host(root).Name(t.Context())
		if err != nil || !strings.HasPrefix(n, "host-") {
			t.Fatal(n, err)
		}
		return n
	}
	first := name()
	if name() != first {
		t.Error("another name for the same host")
	}
	for _, c := range []struct {
		what   string
		change func() error
	}{
		{"a file changes", func() error { return os.WriteFile(root+"/etc/nsswitch.conf", []byte("passwd: nis\n"), 0o644) }},
		{"a file comes", func() error { return os.WriteFile(root+"/etc/new", nil, 0o644) }},
		{"a mode changes", func() error { return os.Chmod(root+"/etc/new", 0o600) }},
		{"a file goes", func() error { return os.Remove(root + "/etc/new") }},
		{"a package comes", func() error { return os.WriteFile(root+dpkgStatus, []byte("Package: b\n"), 0o644) }},
		{"a directory splits", func() error { return errors.Join(os.Remove(root+"/bin"), os.Mkdir(root+"/bin", 0o755)) }},
	} {
		before := name()
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		if name() == before {
			t.Errorf("%s: the same name", c.what)
		}
	}
	before := name()
	for _, p := range []string{"/etc/resolv.conf", "/etc/vservers/other.yaml", "/etc/ssh/ssh_host_new_key"} {
		if err := os.WriteFile(root+p, []byte("other"), 0o644); err != nil {
			t.Fatal(err)
		}
		if name() != before {
			t.Errorf("another name for %s, which no guest gets", p)
		}
	}
	if s := Host(root).Shared; !slices.Equal(s, []string{"/usr", "/bin"}) {
		t.Errorf("shared: %v", s)
	}
}

// TestThisHost makes the skeleton of the machine that runs the test, and holds it
// against rules that need no list.
func TestThisHost(t *testing.T) {
	need.Root(t)
	need.Distribution(t)
	dir := t.TempDir()
	if err := Host("/").Fill(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir+"/etc", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.Type() != 0 {
			return err
		}
		files++
		rel := strings.TrimPrefix(p, dir)
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if strings.Contains(string(b), "PRIVATE KEY-----\n") {
			t.Errorf("%s: a private key", rel)
		}
		made := []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/fstab", "/etc/sudoers", "/etc/ssh/sshd_config"}
		st, err := os.Stat(rel)
		if err == nil && st.Mode()&0o004 == 0 && !slices.Contains(made, rel) && !looksPristine(t, rel) {
			t.Errorf("%s: not everybody may read it on the host", rel)
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("%d files, %v", files, err)
	}
}

func looksPristine(t *testing.T, p string) bool {
	t.Helper()
	f, err := os.Open(dpkgStatus)
	if err != nil {
		return false
	}
	defer f.Close()
	known, err := conffiles(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(p)
	sum := md5.Sum(b)
	return err == nil && known[strings.TrimPrefix(p, "/etc/")] == hex.EncodeToString(sum[:])
}

func TestLooksSecret(t *testing.T) {
	for text, want := range map[string]bool{
		"password = x": true, "  Password: x": true, "export API_KEY='x'": true, "a_token=x": true, "client_secret: \"x\"": true,
		"url=https://u:p@h/": true, "-----BEGIN PRIVATE KEY-----": true, "-----BEGIN OPENSSH PRIVATE KEY-----": true,
		"# password = x": false, "; secret=x": false, "password =": false, "password = # none": false, "passwd: files": false,
		"url=https://h/p@x": false, "auth required pam_unix.so": false, "PASS_MAX_DAYS 99999": false, "": false,
		"-----BEGIN CERTIFICATE-----": false, "http://h:80/x": false,
	} {
		if got := looksSecret([]byte("first\n" + text + "\n")); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add("root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\n")
	f.Fuzz(func(t *testing.T, passwd, group string) {
		users, names := cleanPasswd(passwd)
		groups, _ := cleanGroup(group, names)
		for line := range strings.Lines(users) {
			if n := strings.Count(line, ":"); n != 6 {
				t.Errorf("%q", line)
			}
		}
		for line := range strings.Lines(groups) {
			if n := strings.Count(line, ":"); n != 3 {
				t.Errorf("%q", line)
			}
		}
	})
}

func BenchmarkHostName(b *testing.B) {
	need.Root(b)
	for b.Loop() {
		if _, err := Host("/").Name(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
