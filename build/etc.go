package build

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5" // what dpkg keeps of its conffiles; no secret rests on it
	"encoding/hex"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"vserver/kernel/file"
)

// The rules by which a guest gets a copy of the host's /etc. A guest's root reads all
// of it, so the question for each file is what a stranger may know.
//
//  1. What dropped lists is the host's identity, its network, its other guests or its
//     secrets, and is left out by name.
//  2. Files that a package brought and nobody changed (dpkg knows their MD5) are public.
//  3. What not every user of the host may read is left out; so is everything in a
//     directory that not every user may enter.
//  4. In the directories of strict only files of rule 2 pass: what an administrator
//     puts there makes the host's own jobs and services run.
//  5. The rest passes unless its text looks like a secret.
//
// Accounts, sudoers, fstab and sshd_config are written anew (accounts.go).

// dropped are patterns of path.Match, below /etc; a directory goes with all in it.
var dropped = []string{
	// identity
	"machine-id", "hostname", "hosts", "mailname", "resolv.conf", "ssh/ssh_host_*", "ssh/sshd_config",
	"passwd", "group", "shadow", "gshadow", "subuid", "subgid", "nsswitch.secret", "aliases", "aliases.db",
	"security/opasswd", "udev/rules.d", "brlapi.key",
	// disks and network
	"fstab", "mtab", "crypttab", "exports", "exports.d", "auto.*", "mdadm", "lvm", "multipath*", "iscsi",
	"zfs", "network/interfaces", "network/interfaces.d/*", "netplan", "NetworkManager", "systemd/network", "sysconfig/network*",
	"dhcp", "dhcpcd*", "nftables*", "iptables*", "ufw", "firewalld", "shorewall*", "fail2ban", "frr", "bird*",
	"wireguard", "openvpn", "ipsec*", "strongswan*", "swanctl", "tinc", "ppp", "chatscripts", "wpa_supplicant",
	"hostapd", "adjtime", "modprobe.d", "modules-load.d", "modules", "initramfs-tools", "dracut*", "grub*", "default/grub*", "kernel",
	// other guests
	"vservers", "vservers.conf", "lxc", "lxd", "incus", "docker", "containers", "containerd", "cni", "kubernetes",
	"rancher", "libvirt", "qemu*", "xen", "systemd/nspawn", "default/lxc*", "default/docker*",
	// secrets
	"ssl/private", "pki/tls/private", "pki/private", "letsencrypt", "acme*", "krb5.keytab", "krb5kdc", "*.keytab",
	"sssd", "samba", "ldap.secret", "pam_ldap*", "libnss-ldap*", "nslcd.conf", "gitconfig", "git", "apt/auth.conf*",
	"credstore*", "cloud", "ansible", "puppet*", "chef", "salt", "vault*", "consul*", "nomad*", "postfix/sasl*",
	"exim4/passwd*", "msmtprc", "ssmtp", "bareos", "bacula", "borgmatic", "restic", "rclone*", "mysql/debian.cnf",
	"polkit-1/rules.d/*", "polkit-1/localauthority/*",
}

// backups are names, in any directory, of keys and of what editors and packages put
// aside.
var backups = []string{
	".*", "*~", "*-", "*.bak", "*.old", "*.orig", "*.save", "*.swp", "*.dpkg-*", "*.ucf-*", "*.rpmsave", "*.rpmnew",
	"*.disabled*", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx", "*.secret", "*htpasswd*", "*credential*", "id_*",
}

// strict are the directories of rule 4.
var strict = []string{
	"cron.d", "cron.hourly", "cron.daily", "cron.weekly", "cron.monthly", "crontab", "sudoers", "sudoers.d", "doas.conf",
	"systemd/system", "systemd/user", "ssh/sshd_config.d", "ssh/ssh_config.d", "profile.d", "update-motd.d", "motd",
	"issue", "issue.net", "rc.local", "sysctl.conf", "sysctl.d", "tmpfiles.d", "security", "logrotate.d",
	"rsyslog.d", "default", "apache2", "nginx", "lighttpd", "postgresql", "mysql", "postfix", "exim4", "dovecot", "php",
	"bind", "snmp", "supervisor", "monit", "zabbix", "prometheus", "grafana", "xinetd.d", "inetd.conf", "rsyncd.conf",
}

// services are the units and runlevel links that a guest keeps of those enabled on
// the host: the ones that any small server has, and that work in a guest.
var services = []string{
	"ssh", "sshd", "cron", "crond", "dbus", "dbus-broker", "rsyslog", "syslog", "busybox-syslogd", "inetutils-syslogd",
	"getty@tty1", "console-getty", "remote-fs", "default", "logrotate", "man-db", "dpkg-db-backup", "ctrl-alt-del",
}

// maxSystemID bounds the ids that distributions give to their own accounts; people
// come from 1000 on.
const maxSystemID = 1000

// maxLook is the size in bytes up to which a file's text is looked at for secrets;
// larger files of /etc are databases, and are left out unless they are known.
const maxLook = 1 << 20

// cleaner decides what of /etc a guest gets.
type cleaner struct {
	etc      string
	pristine map[string]string // path below /etc -> MD5 of what the package brought
	closed   string            // directory that not everybody may enter
}

// etc copies the cleaned /etc and writes what is made anew.
func (h hostTree) etc(ctx context.Context, d *file.Dir) error {
	c := &cleaner{etc: h.path("/etc")}
	if f, err := os.Open(h.path(dpkgStatus)); err == nil {
		c.pristine, err = conffiles(f)
		f.Close()
		if err != nil {
			return err
		}
	}
	if err := h.copy(ctx, d, "etc", c.pick); err != nil {
		return err
	}
	return h.accounts(d)
}

// conffiles reads the paths below /etc and MD5 sums of dpkg's status file.
func conffiles(f interface{ Read([]byte) (int, error) }) (map[string]string, error) {
	out := map[string]string{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	in := false
	for s.Scan() {
		line := s.Text()
		if !strings.HasPrefix(line, " ") {
			in = strings.HasPrefix(line, "Conffiles:")
			continue
		}
		if w := strings.Fields(line); in && len(w) == 2 {
			if p, ok := strings.CutPrefix(w[0], "/etc/"); ok {
				out[p] = w[1]
			}
		}
	}
	return out, s.Err()
}

func (c *cleaner) pick(p string, st file.Stat) bool {
	if c.closed != "" && strings.HasPrefix(p, c.closed+"/") || matches(dropped, p) {
		return false
	}
	switch st.Type() {
	case file.TypeDir:
		if st.Mode&0o005 != 0o005 {
			c.closed = p
		}
		return p == "skel" || !strings.HasPrefix(path.Base(p), ".")
	case file.TypeLink:
		return c.link(p)
	case file.TypeFile:
		return c.file(p, st)
	}
	return false
}

// matches tells whether a pattern fits the path; directories were asked before what
// is in them.
func matches(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pat string) bool {
		ok, _ := path.Match(pat, p)
		return ok
	})
}

// under tells whether the path is one of those listed or below one.
func under(list []string, p string) bool {
	return slices.ContainsFunc(list, func(dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") })
}

// link decides on a symbolic link. Those that switch services on pass for services
// alone; masks always do.
func (c *cleaner) link(p string) bool {
	name := path.Base(p)
	dir, _, _ := strings.Cut(p, "/")
	switch {
	case strings.HasPrefix(p, "systemd/system/"):
		if to, err := os.Readlink(path.Join(c.etc, p)); err == nil && to == "/dev/null" {
			return true
		}
		unit := strings.TrimSuffix(name, path.Ext(name))
		return slices.Contains(services, unit)
	case len(dir) == 5 && strings.HasPrefix(dir, "rc") && strings.HasSuffix(dir, ".d") && len(name) > 3:
		return name[0] == 'K' || slices.Contains(services, name[3:])
	}
	return !matches(backups, name)
}

func (c *cleaner) file(p string, st file.Stat) bool {
	sum, known := c.pristine[p]
	if known && st.Size <= maxLook {
		text, err := os.ReadFile(path.Join(c.etc, p))
		now := md5.Sum(text)
		if err == nil && hex.EncodeToString(now[:]) == sum {
			return true
		}
	}
	if !publicFile(st) {
		return false
	}
	if p == "ld.so.cache" || p == "default/locale" {
		return true
	}
	if under(strict, p) || st.Size > maxLook {
		return false
	}
	skel := strings.HasPrefix(p, "skel/")
	if matches(backups, path.Base(p)) && !skel {
		return false
	}
	text, err := os.ReadFile(path.Join(c.etc, p))
	return err == nil && !looksSecret(text)
}

// publicFile says that everybody on the host may read the file, and that it is the
// system's.
func publicFile(st file.Stat) bool {
	if st.UID >= maxSystemID || st.GID >= maxSystemID {
		return false
	}
	switch st.Type() {
	case file.TypeDir:
		return st.Mode&0o005 == 0o005
	case file.TypeFile:
		return st.Mode&0o004 != 0
	}
	return st.Type() == file.TypeLink
}

// secretPatterns are private keys, URLs with a password, and settings whose name says
// it.
var secretPatterns = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)PRIVATE KEY-----|://[^/\s:@]+:[^/\s@]+@|` +
		`(password|secret|token|api_?key|private_?key|credentials?)["']?\s*[=:]\s*["']?[^\s"'#;]`)
})

// looksSecret looks at the lines that are no comments.
func looksSecret(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != ';' && secretPatterns().Match(line) {
			return true
		}
	}
	return false
}
