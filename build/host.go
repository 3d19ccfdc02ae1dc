package build

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"vserver/kernel/file"
	"vserver/layer"
)

// Host makes the skeleton of a guest that shares this host's programs, from the host
// whose root is at root ("/"): a cleaned copy of /etc (see etc.go for the rules), the
// package database, so that the guest's package manager tells the truth, and the
// directories that programs expect. /usr, and /bin, /sbin and /lib* where they are no
// links into /usr, are shared; /usr/local and /usr/src are the host's own business.
//
// The image's name is a fingerprint of all that went into it: a second guest costs
// milliseconds, and one made after the host changed gets a new image. The guest sees
// the host's upgrades of /usr at once, but keeps its own /etc and package database.
func Host(root string) Source {
	h := hostTree{root}
	shared := h.shared()
	var hidden []string
	if h.isDir("/usr") {
		hidden = Hidden()
	}
	return Source{
		Method: "host", Text: "this host's own system", Cache: true,
		Name: h.name, Fill: h.fill, Shared: shared, Hidden: hidden,
	}
}

// Hidden are the directories below /usr, parents first, that a guest of method host has
// empty ones of its own for.
func Hidden() []string {
	hidden := []string{"/usr/src", "/usr/local"}
	for _, d := range []string{"bin", "etc", "games", "include", "lib", "sbin", "share", "src"} {
		hidden = append(hidden, "/usr/local/"+d)
	}
	return hidden
}

// hostTree is the root of the host to copy from.
type hostTree struct{ root string }

// system are the directories with the programs and libraries of a system.
var system = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/libo32"}

func (h hostTree) path(p string) string { return filepath.Join(h.root, p) }

func (h hostTree) isDir(p string) bool {
	st, err := os.Lstat(h.path(p))
	return err == nil && st.IsDir()
}

// shared are those of system that are directories here; the others are links, if
// they are there at all.
func (h hostTree) shared() (out []string) {
	for _, d := range system {
		if h.isDir(d) {
			out = append(out, d)
		}
	}
	return out
}

// recipe counts up when the same sources give another image.
const recipe = "1"

// name hashes the stat of what a guest may get of /etc and of the package database's main
// file: owners, modes, sizes, times. It reads no content, so it takes milliseconds.
func (h hostTree) name(ctx context.Context) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, recipe, h.shared())
	d, err := file.OpenDir(h.path("/etc"))
	if err != nil {
		return "", err
	}
	defer d.Close()
	if err := stamp(ctx, sum, d, ""); err != nil {
		return "", err
	}
	for _, p := range []string{dpkgStatus, "/var/lib/apt/extended_states"} {
		if st, err := os.Lstat(h.path(p)); err == nil {
			fmt.Fprintln(sum, p, st.Size(), st.ModTime().UnixNano())
		}
	}
	return imageName([]string{"host"}, fmt.Sprintf("%x", sum.Sum(nil))), nil
}

// stamped tells whether a path below /etc counts: no guest has anything of what is dropped,
// such as the specs of others, but for the accounts, and locks and what ldconfig leaves
// come and go.
func stamped(p string) bool {
	switch p {
	case "passwd", "group":
		return true
	case ".pwd.lock", "ld.so.cache~":
		return false
	}
	return !matches(dropped, p)
}

func stamp(ctx context.Context, sum hash.Hash, d *file.Dir, at string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		p := path.Join(at, n)
		if !stamped(p) {
			continue
		}
		st, err := d.Stat(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		facts := []int64{int64(st.Mode), int64(st.UID), int64(st.GID), st.Size, st.Mtime, st.Ctime}
		if st.Type() == file.TypeDir {
			facts = facts[:3] // its entries count, not when they came
		}
		line := append([]byte(n), 0)
		for _, v := range facts {
			line = binary.LittleEndian.AppendUint64(line, uint64(v))
		}
		sum.Write(line)
		if st.Type() != file.TypeDir {
			continue
		}
		if st.MountRoot {
			continue
		}
		sub, err := d.Dir(n)
		if err != nil {
			return err
		}
		err = stamp(ctx, sum, sub, p)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

const dpkgStatus = "/var/lib/dpkg/status"

// hostDirs are directories below /var that programs expect on any system.
var hostDirs = []string{
	"var/lib/systemd 755", "var/lib/misc 755", "var/lib/dbus 755", "var/lib/private 700",
	"var/cache/private 700", "var/log/private 700", "var/spool/cron 755",
	"var/lib/apt 755", "var/lib/apt/lists 755", "var/lib/apt/lists/partial 700",
	"var/cache/apt 755", "var/cache/apt/archives 755", "var/cache/apt/archives/partial 700",
	"var/cache/debconf 755",
}

func (h hostTree) fill(ctx context.Context, dir string, p Progress) error {
	d, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := mkdirs(d, rootDirs); err != nil {
		return err
	}
	p.Say("copy a cleaned /etc")
	if err := h.etc(ctx, d); err != nil {
		return err
	}
	p.Say("copy the package database")
	if err := h.packages(ctx, d); err != nil {
		return err
	}
	if err := mkdirs(d, hostDirs); err != nil {
		return err
	}
	return h.links(d)
}

// links makes the mount points of the shared directories, and the links that stand in
// for them on a merged system.
func (h hostTree) links(d *file.Dir) error {
	for _, p := range append(slices.Clone(system), "/var/run", "/var/lock") {
		st, err := os.Lstat(h.path(p))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if st.IsDir() {
			if err := mkdir(d, p, 0o755, 0, 0); err != nil {
				return err
			}
			continue
		}
		target, err := os.Readlink(h.path(p))
		if err != nil {
			return err
		}
		at, name, err := d.Parent(p)
		if err != nil {
			return err
		}
		err = at.Symlink(target, name)
		at.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// packages copies dpkg's database with what belongs to it, and makes the directories
// below /var that packages own. Other package managers keep theirs below /usr.
func (h hostTree) packages(ctx context.Context, d *file.Dir) error {
	if _, err := os.Lstat(h.path(dpkgStatus)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, p := range []string{"var/lib/dpkg", "var/lib/pam"} {
		if err := h.copy(ctx, d, p, func(p string, st file.Stat) bool {
			return publicFile(st) && !strings.HasSuffix(p, "-old") && !strings.HasPrefix(p, "lock") && p != "available"
		}); err != nil {
			return err
		}
	}
	if err := h.copy(ctx, d, "var/lib/apt", func(p string, st file.Stat) bool {
		return p == "extended_states" && publicFile(st)
	}); err != nil {
		return err
	}
	return h.ownedDirs(d)
}

// copy copies a directory of the host, which need not be there, into the image.
func (h hostTree) copy(ctx context.Context, d *file.Dir, p string, pick func(string, file.Stat) bool) error {
	from, err := file.OpenDir(h.path(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	if err := mkdir(d, p, 0o755, 0, 0); err != nil {
		return err
	}
	at, name, err := d.Parent(p)
	if err != nil {
		return err
	}
	defer at.Close()
	to, err := at.Dir(name)
	if err != nil {
		return err
	}
	defer to.Close()
	c := layer.Copy{Pick: pick}
	return c.Run(ctx, from, to)
}

// ownedDirs makes the directories below /var that dpkg's packages brought, as the host
// has them. Directories that nobody's package knows are not even named in the guest.
func (h hostTree) ownedDirs(d *file.Dir) error {
	lists, err := filepath.Glob(h.path("/var/lib/dpkg/info/*.list"))
	if err != nil {
		return err
	}
	owned := map[string]bool{}
	for _, l := range lists {
		text, err := os.ReadFile(l)
		if err != nil {
			return err
		}
		for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
			if strings.HasPrefix(s.Text(), "/var/") {
				owned[path.Clean(s.Text())] = true
			}
		}
	}
	paths := make([]string, 0, len(owned))
	for p := range owned {
		paths = append(paths, p)
	}
	slices.Sort(paths) // parents first
	root, err := file.OpenDir(h.root)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, p := range paths {
		at, name, err := root.Parent(p)
		if err != nil {
			continue // the host's administrator took it away, or made it a link
		}
		st, err := at.Stat(name)
		at.Close()
		if err != nil || st.Type() != file.TypeDir || st.UID >= maxSystemID || st.GID >= maxSystemID {
			continue
		}
		if err := mkdir(d, p, st.Perm(), st.UID, st.GID); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
