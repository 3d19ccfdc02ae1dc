package probe

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"vserver/kernel/mount"
	"vserver/kernel/ns"
)

// roots are the features that make a guest's file system.
func roots() []feature {
	return []feature{
		{Result{Name: "mount-api", Required: true,
			Gives:  "a guest's mounts are made where nobody else sees them",
			Brings: "Linux 5.12",
			Lost:   "no guest can be started"},
			func(*ground) (string, error) {
				fd, err := mount.New("tmpfs", mount.ReadOnly)
				if err != nil {
					return "", err
				}
				defer unix.Close(fd)
				return "", mount.SetAttr(fd, mount.NoDev, -1)
			}},
		{Result{Name: "openat2", Required: true,
			Gives:  "paths in a guest's files lead nowhere else",
			Brings: "Linux 5.6",
			Lost:   "no guest can be built or started"},
			func(*ground) (string, error) {
				fd, err := unix.Openat2(unix.AT_FDCWD, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH})
				if err == nil {
					unix.Close(fd)
				}
				return "", err
			}},
		{Result{Name: "filesystems", Required: true,
			Gives:  "/proc, /sys, /dev, /run of a guest",
			Brings: "CONFIG_TMPFS, CONFIG_UNIX98_PTYS, CONFIG_POSIX_MQUEUE",
			Lost:   "no guest can be started"},
			filesystems("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2")},
		{Result{Name: "overlay", Required: true,
			Gives:  "guests share the files of their distribution: `root.kind: overlay`",
			Brings: "CONFIG_OVERLAY_FS, modprobe overlay",
			Lost:   "guests need files of their own: `root.kind: dir`"},
			func(g *ground) (string, error) { return "", overlay(g.dir, -1, mount.Overlay) }},
		{Result{Name: "idmapped-layers", Required: true,
			Gives:  "the shared files belong to each guest's own root",
			Brings: "Linux 5.19",
			Lost:   "`root.kind: overlay` with a user namespace"},
			idmapped},
		{Result{Name: "idmapped-usr",
			Gives:  "guests made of this host's own system: `vserver build --method host`",
			Brings: "/usr on ext4, xfs or btrfs; on tmpfs Linux 6.3",
			Lost:   "that method"},
			idmappedUsr},
		{Result{Name: "detached-layers",
			Gives:  "a start saves a mount namespace, about 0.2 ms",
			Brings: "Linux 6.15",
			Lost:   "that time"},
			func(g *ground) (string, error) { return "", overlay(g.dir, -1, detached) }},
	}
}

// disks are what the file systems below a guest's root are good for.
func disks() []feature {
	return []feature{
		{Result{Name: "proc-options",
			Gives:  "parts of /proc can be kept from guests",
			Brings: "Linux 5.8",
			Lost:   "only masks hide them"},
			func(*ground) (string, error) { return "", options("proc", "hidepid=invisible", "subset=pid") }},
		{Result{Name: "quota",
			Gives:  "bounds for disk space by user, on ext4 and xfs",
			Brings: "CONFIG_QUOTA, CONFIG_QFMT_V2, CONFIG_XFS_QUOTA",
			Lost:   "guests can fill the disk"},
			// Q_SYNC for all file systems does nothing that sync(2) would not.
			func(*ground) (string, error) {
				const quotaSync = 0x800001 << 8 // QCMD(Q_SYNC, USRQUOTA), linux/quota.h
				return "", call(unix.SYS_QUOTACTL, quotaSync, 0, 0)
			}},
		{Result{Name: "btrfs",
			Gives:  "snapshots and quota groups, if guests lie on btrfs",
			Brings: "CONFIG_BTRFS_FS",
			Lost:   "nothing on other file systems"},
			possible("btrfs")},
		{Result{Name: "xfs",
			Gives:  "copies that share blocks and project quotas, if guests lie on xfs",
			Brings: "CONFIG_XFS_FS",
			Lost:   "nothing on other file systems"},
			possible("xfs")},
		{Result{Name: "fuse",
			Gives:  "views of /proc of the guest's own; FUSE file systems in guests",
			Brings: "CONFIG_FUSE_FS, modprobe fuse",
			Lost:   "both"},
			filesystems("fuse")},
		{Result{Name: "binfmt-misc",
			Gives:  "guests of another architecture",
			Brings: "CONFIG_BINFMT_MISC, modprobe binfmt_misc",
			Lost:   "guests are of the host's architecture"},
			filesystems("binfmt_misc")},
	}
}

// filesystems probes for types of file systems; modules are loaded by asking.
func filesystems(types ...string) func(*ground) (string, error) {
	return func(*ground) (string, error) {
		var missing []string
		var last error
		for _, t := range types {
			if err := options(t); err != nil {
				missing, last = append(missing, t), err
			}
		}
		if len(missing) > 0 {
			return "", fmt.Errorf("%s: %w", strings.Join(missing, " "), last)
		}
		if len(types) > 1 {
			return strings.Join(types, " "), nil
		}
		return "", nil
	}
}

// possible probes for a file system that the host need not use: its module, some MiB that
// stay, is not loaded for a look. Guests that lie on it have it loaded.
func possible(fstype string) func(*ground) (string, error) {
	return func(*ground) (string, error) {
		known, err := os.ReadFile("/proc/filesystems")
		if err != nil || bytes.Contains(known, []byte("\t"+fstype+"\n")) {
			return "", err
		}
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return "", os.NewSyscallError("uname", err)
		}
		aliases, _ := os.ReadFile(filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]), "modules.alias"))
		if !bytes.Contains(aliases, []byte("alias fs-"+fstype+" ")) {
			return "", errNone
		}
		return "a module, not loaded", nil
	}
}

// errNone is of a file system that is neither built in nor a module.
var errNone = errors.New("not in this kernel")

// options says whether a type of file system takes the options.
func options(fstype string, opts ...string) error {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err == unix.ENODEV {
		return errNone
	}
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	for _, o := range opts {
		key, value, _ := strings.Cut(o, "=")
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
	}
	return nil
}

// layering is a way to make an overlay of detached mounts and two directories.
type layering func(lower []int, upper, work *os.File) (int, error)

// idmapped probes for an overlay whose shared layer shows the ids of another user
// namespace.
func idmapped(g *ground) (string, error) {
	return "", held(func(pid int) error {
		userns, err := ns.Open(pid, "user")
		if err != nil {
			return err
		}
		defer userns.Close()
		return overlay(g.dir, int(userns.Fd()), mount.Overlay)
	})
}

// idmappedUsr probes for a clone of the host's /usr with the ids of another user
// namespace.
func idmappedUsr(*ground) (string, error) {
	return "", held(func(pid int) error {
		userns, err := ns.Open(pid, "user")
		if err != nil {
			return err
		}
		defer userns.Close()
		usr, err := mount.Clone("/usr")
		if err != nil {
			return err
		}
		defer unix.Close(usr)
		return mount.SetAttr(usr, mount.ReadOnly, int(userns.Fd()))
	})
}

// overlay makes an overlay as a guest's root is made, in a directory of its own in dir.
// With userns at or above 0 the shared layer shows the ids of that namespace.
func overlay(dir string, userns int, join layering) (err error) {
	if os.Geteuid() != 0 {
		return errRoot
	}
	at, err := os.MkdirTemp(dir, ".probe-")
	if err != nil {
		return noPlace{dir, err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(at)) }()
	for _, name := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(at, name), 0o755); err != nil {
			return err
		}
	}
	file := filepath.Join(at, "lower", probeFile)
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return err
	}
	if err := os.Chown(file, 1, 1); err != nil {
		return err
	}
	lower, err := mount.Clone(filepath.Join(at, "lower"))
	if err != nil {
		return err
	}
	defer unix.Close(lower)
	if err := mount.SetAttr(lower, mount.ReadOnly, userns); err != nil {
		return err
	}
	upper, err := os.Open(filepath.Join(at, "upper"))
	if err != nil {
		return err
	}
	defer upper.Close()
	work, err := os.Open(filepath.Join(at, "work"))
	if err != nil {
		return err
	}
	defer work.Close()
	fd, err := join([]int{lower}, upper, work)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return ownerIs(fd, userns)
}

// probeFile is a file of user 1 in the shared layer.
const probeFile = "file"

// ownerIs holds the id map against the owner that the overlay shows.
func ownerIs(overlay, userns int) error {
	want := uint32(1)
	if userns >= 0 {
		want = probeID
	}
	var st unix.Stat_t
	if err := unix.Fstatat(overlay, probeFile, &st, 0); err != nil {
		return err
	}
	if st.Uid != want {
		return fmt.Errorf("a file of user 1 belongs to %d, not %d", st.Uid, want)
	}
	return nil
}

// detached makes an overlay of layers that hang nowhere.
func detached(lower []int, upper, work *os.File) (int, error) {
	return mount.New("overlay", 0,
		fmt.Sprintf("lowerdir=/proc/self/fd/%d", lower[0]),
		fmt.Sprintf("upperdir=/proc/self/fd/%d", upper.Fd()),
		fmt.Sprintf("workdir=/proc/self/fd/%d", work.Fd()))
}
