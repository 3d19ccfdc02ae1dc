package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"vserver/guest"
)

// account is a user as the guest knows it.
type account struct {
	name   string
	uid    uint32
	gid    uint32
	groups []uint32
	home   string
	shell  string
}

// databaseSize bounds what is read of a guest's passwd and group files, which the
// guest writes: 4 MiB are some 60,000 users.
const databaseSize = 4 << 20

// lookUp finds a user in the guest whose init is process pid: "name", "uid" or
// "uid:gid"; "" is root. A number needs no entry.
func lookUp(pid int, who string) (account, error) {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return account{}, err
	}
	defer root.Close()
	if who == "" {
		who = "0"
	}
	user, group, hasGroup := strings.Cut(who, ":")
	a, found, err := passwd(root, user)
	if err != nil {
		return account{}, err
	}
	if !found {
		uid, err := strconv.ParseUint(user, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("user %q: not known in the guest: %w", user, guest.ErrInvalid)
		}
		a = account{name: user, uid: uint32(uid), gid: uint32(uid), home: "/", shell: "/bin/sh"}
		if uid == 0 {
			a.name, a.home = "root", "/root"
		}
	}
	return a, a.memberships(root, group, hasGroup)
}

// passwd finds a user by name or number.
func passwd(root *os.Root, who string) (a account, found bool, err error) {
	err = eachLine(root, "etc/passwd", 7, func(f []string) bool {
		if f[0] != who && f[2] != who {
			return true
		}
		uid, err1 := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if err1 != nil || err2 != nil {
			return true
		}
		a = account{name: f[0], uid: uint32(uid), gid: uint32(gid), home: f[5], shell: f[6]}
		found = true
		return false
	})
	return a, found, err
}

// memberships finds the supplementary groups, and the group asked for, if any.
func (a *account) memberships(root *os.Root, group string, asked bool) error {
	var known bool
	err := eachLine(root, "etc/group", 4, func(f []string) bool {
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return true
		}
		if asked && f[0] == group {
			a.gid, known = uint32(gid), true
		}
		for _, m := range strings.Split(f[3], ",") {
			if m == a.name {
				a.groups = append(a.groups, uint32(gid))
			}
		}
		return true
	})
	if err != nil || !asked || known {
		return err
	}
	gid, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		return fmt.Errorf("group %q: not known in the guest: %w", group, guest.ErrInvalid)
	}
	a.gid = uint32(gid)
	return nil
}

// eachLine calls do with the fields of each line of a database in the guest until it
// says no. A database that is not there has no lines.
func eachLine(root *os.Root, path string, fields int, do func([]string) bool) error {
	// The file is the guest's: it may be a pipe nobody writes to, or a device.
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%s: is no plain file: %w", path, guest.ErrInvalid))
	}
	lines := bufio.NewScanner(io.LimitReader(f, databaseSize))
	for lines.Scan() {
		parts := strings.Split(lines.Text(), ":")
		if len(parts) >= fields && !do(parts) {
			return nil
		}
	}
	return lines.Err()
}
