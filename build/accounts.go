package build

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"vserver/kernel/file"
)

// accounts writes the files of /etc that a guest of method host gets anew: the
// system's accounts and groups without any password and without the host's people,
// and stock versions of what an administrator fits to one machine.
func (h hostTree) accounts(d *file.Dir) error {
	etc, err := d.Dir("etc")
	if err != nil {
		return err
	}
	defer etc.Close()
	passwd, err := os.ReadFile(h.path("/etc/passwd"))
	if err != nil {
		return err
	}
	group, err := os.ReadFile(h.path("/etc/group"))
	if err != nil {
		return err
	}
	users, names := cleanPasswd(string(passwd))
	groups, shadowGID := cleanGroup(string(group), names)
	perm := uint32(0o600)
	if shadowGID != 0 {
		perm = 0o640
	}
	for _, f := range []struct {
		name, text string
		perm, gid  uint32
	}{
		{"passwd", users, 0o644, 0},
		{"group", groups, 0o644, 0},
		{"shadow", eachLine(users, ":*:19000:0:99999:7:::"), perm, shadowGID},
		{"gshadow", eachLine(groups, ":*::"), perm, shadowGID},
		{"fstab", "# A guest's file systems are mounted by the host.\n", 0o644, 0},
	} {
		if err := write(etc, f.name, f.text, f.perm, f.gid); err != nil {
			return err
		}
	}
	return h.stock(etc)
}

// stock writes a plain sudoers and sshd_config where the programs are there.
func (h hostTree) stock(etc *file.Dir) error {
	if _, err := os.Lstat(h.path("/usr/bin/sudo")); err == nil {
		_, err := etc.Stat("sudoers")
		if errors.Is(err, fs.ErrNotExist) {
			err = write(etc, "sudoers", "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n", 0o440, 0)
		}
		if err != nil {
			return err
		}
	}
	text, err := os.ReadFile(h.path("/usr/share/openssh/sshd_config"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ssh, err := etc.Dir("ssh")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ssh.Close()
	return write(ssh, "sshd_config", string(text), 0o644, 0)
}

func write(d *file.Dir, name, text string, perm, gid uint32) error {
	f, err := d.Open(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	e, err := d.Entry(name)
	if err != nil {
		return err
	}
	defer e.Close()
	return errors.Join(e.Chown(0, gid), e.Chmod(perm))
}

// systemID tells whether an id is one of the distribution's own accounts; 65534 is
// nobody.
func systemID(s string) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && (n < maxSystemID || n == 65534)
}

// cleanPasswd keeps the system's accounts, and gives their names.
func cleanPasswd(text string) (out string, names []string) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 7 || !systemID(f[2]) || strings.HasPrefix(f[0], "+") {
			continue
		}
		f[1] = "x"
		if strings.HasPrefix(f[6], "/usr/local/") || strings.HasPrefix(f[6], "/opt/") {
			f[6] = "/bin/sh"
		}
		names = append(names, f[0])
		out += strings.Join(f, ":") + "\n"
	}
	return out, names
}

// cleanGroup keeps the system's groups and of their members those in names, and gives
// the id of the group shadow.
func cleanGroup(text string, names []string) (out string, shadow uint32) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 4 || !systemID(f[2]) || strings.HasPrefix(f[0], "+") {
			continue
		}
		var members []string
		for m := range strings.SplitSeq(f[3], ",") {
			if slices.Contains(names, m) {
				members = append(members, m)
			}
		}
		f[1], f[3] = "x", strings.Join(members, ",")
		if f[0] == "shadow" {
			n, _ := strconv.ParseUint(f[2], 10, 32)
			shadow = uint32(n)
		}
		out += strings.Join(f, ":") + "\n"
	}
	return out, shadow
}

// eachLine puts tail behind the first field of each line.
func eachLine(text, tail string) (out string) {
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, ":")
		out += name + tail + "\n"
	}
	return out
}
