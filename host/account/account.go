// Package account finds users in the databases of a guest, which the guest writes:
// passwd(5) and group(5).
package account

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/layer"
)

// Account is a user as a guest knows it.
type Account struct {
	Name   string
	UID    uint32
	GID    uint32
	Groups []uint32 // supplementary ones
	Home   string
	Shell  string
}

// databaseSize bounds what is read of a guest's passwd and group files, which the
// guest writes: 4 MiB are some 60,000 users.
const databaseSize = 4 << 20

// Inside finds a user of the guest whose init is process pid: "name", "uid", "uid:gid" or
// any mixture of them; "" is root. A number needs no entry. The error is guest.ErrInvalid
// for one that the guest does not know.
func Inside(pid int, who string) (Account, error) {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/%d/root", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return Account{}, guest.ErrStopped // it ends just now
	}
	if err != nil {
		return Account{}, err
	}
	defer root.Close()
	return find(func(path string) (io.ReadCloser, error) { return open(root, path) }, who)
}

// Find is Inside for a guest that does not run.
func Find(root *layer.Root, who string) (Account, error) {
	return find(func(path string) (io.ReadCloser, error) {
		text, err := root.Read(path, databaseSize)
		return io.NopCloser(bytes.NewReader(text)), err
	}, who)
}

// Below is Inside for the root of a guest.
func Below(root *file.Root, who string) (Account, error) {
	return find(func(path string) (io.ReadCloser, error) {
		e, err := root.Entry(path)
		if err != nil {
			return nil, err
		}
		defer e.Close()
		return e.Open()
	}, who)
}

// opener opens a database of the guest by its path there.
type opener func(path string) (io.ReadCloser, error)

// find finds a user: "name", "uid", "uid:gid" or any mixture of them; "" is root. A number
// needs no entry. The error is guest.ErrInvalid for one that the guest does not know.
func find(root opener, who string) (Account, error) {
	if who == "" {
		who = "0"
	}
	user, group, hasGroup := strings.Cut(who, ":")
	a, found, err := passwd(root, user)
	if err != nil {
		return Account{}, err
	}
	if !found {
		uid, err := strconv.ParseUint(user, 10, 32)
		if err != nil {
			return Account{}, fmt.Errorf("user %q: not known in the guest: %w", user, guest.ErrInvalid)
		}
		a = Account{Name: user, UID: uint32(uid), GID: uint32(uid), Home: "/", Shell: "/bin/sh"}
		if uid == 0 {
			a.Name, a.Home = "root", "/root"
		}
	}
	return a, a.memberships(root, group, hasGroup)
}

// passwd finds a user by name or number.
func passwd(root opener, who string) (a Account, found bool, err error) {
	err = eachLine(root, "etc/passwd", 7, func(f []string) bool {
		if f[0] != who && f[2] != who {
			return true
		}
		uid, err1 := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if err1 != nil || err2 != nil {
			return true
		}
		a = Account{Name: f[0], UID: uint32(uid), GID: uint32(gid), Home: f[5], Shell: f[6]}
		found = true
		return false
	})
	return a, found, err
}

// memberships finds the supplementary groups, and the group asked for, if any.
func (a *Account) memberships(root opener, group string, asked bool) error {
	var known bool
	err := eachLine(root, "etc/group", 4, func(f []string) bool {
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return true
		}
		if asked && f[0] == group {
			a.GID, known = uint32(gid), true
		}
		for _, m := range strings.Split(f[3], ",") {
			if m == a.Name {
				a.Groups = append(a.Groups, uint32(gid))
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
	a.GID = uint32(gid)
	return nil
}

// open opens a file of a guest that runs. The file is the guest's: it may be a pipe nobody
// writes to, or a device.
func open(root *os.Root, path string) (io.ReadCloser, error) {
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s: is no plain file: %w", path, guest.ErrInvalid))
	}
	return f, nil
}

// eachLine calls do with the fields of each line of a database in the guest until it
// says no. A database that is not there has no lines.
func eachLine(root opener, path string, fields int, do func([]string) bool) error {
	f, err := root(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, databaseSize))
	for lines.Scan() {
		parts := strings.Split(lines.Text(), ":")
		if len(parts) >= fields && !do(parts) {
			return nil
		}
	}
	return lines.Err()
}
