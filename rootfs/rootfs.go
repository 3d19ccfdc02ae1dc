// Package rootfs makes what a guest finds at / and at the places below it that are
// the machine's business: /dev, /run. All of it is made detached, in the parent; the
// guest's first process attaches it in its own mount namespace.
//
// The mounts of a guest, and who makes them:
//
//	/               overlay (lowers id-mapped, private upper) or a plain directory
//	/usr ...        overlay over a directory of the host, when the root shares it
//	/dev            tmpfs with the harmless nodes; the host's, so that nodes work
//	/dev/pts        devpts; the host's, so that its limit holds
//	/run            tmpfs, the guest's root its owner
//	/sys            the host's, read-only, for a guest in the host's network
//	/proc /sys /dev/mqueue /sys/fs/cgroup
//	                by the guest's first process: each belongs to its namespaces
package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/mount"
	"vserver/quota/sized"
)

// Kind is the way a mount is made.
type Kind string

// The kinds of mounts.
const (
	Overlay Kind = "overlay"
	Dir     Kind = "dir"
	Dev     Kind = "dev"
	Pts     Kind = "devpts"
	Run     Kind = "run"
	Sys     Kind = "sys"
)

// Mount is one mount of a guest, not made yet.
type Mount struct {
	Kind   Kind
	Target string         // in the guest
	Layers []Layer        // overlay: the guest's own earlier files, topmost first
	Lower  []string       // overlay: shared trees beneath, owned by 0-based ids, topmost first
	Upper  string         // overlay: the private layer; dir: the tree
	Work   string         // overlay: the kernel's own, beside Upper
	Image  string         // overlay: the directory in whose image (quota/sized) Upper and Work are; "" for none
	Mapped bool           // dir: the tree's ids begin at 0
	Tun    bool           // dev: with /dev/net/tun
	Devs   []guest.Device // dev: with their nodes
	Ptys   int            // devpts: the most terminals
	Memory guest.Bytes    // dev, run: that the guest has; 0 for the host's
}

// Layer is a layer between a guest's own files and the shared trees.
type Layer struct {
	Dir  string // as a guest's directory: with upper and shared/DIR/upper
	Base uint32 // host id of guest id 0 in its files
}

// below gives what the layers have beneath the upper directory that a guest's own
// directory has by that name.
func below(layers []Layer, name string) (out []Layer) {
	for _, l := range layers {
		out = append(out, Layer{filepath.Join(l.Dir, name), l.Base})
	}
	return out
}

// String tells the mount in a line.
func (m Mount) String() string {
	switch m.Kind {
	case Overlay:
		if n := len(m.Layers); n > 0 {
			return fmt.Sprintf("make overlay of %s over %d layers over %s for %s", m.Upper, n, strings.Join(m.Lower, ":"), m.Target)
		}
		return fmt.Sprintf("make overlay of %s over %s for %s", m.Upper, strings.Join(m.Lower, ":"), m.Target)
	case Dir:
		how := ""
		if m.Mapped {
			how = " with the guest's ids"
		}
		return fmt.Sprintf("clone mount of %s%s for %s", m.Upper, how, m.Target)
	}
	return fmt.Sprintf("make %s for %s", m.Kind, m.Target)
}

// Plan lists the mounts of a guest, the root first. layers are those that its files lie
// on; image gives the tree of an image in the pool.
func Plan(spec *guest.Spec, dir string, layers []Layer, image func(name string) string) []Mount {
	var list []Mount
	switch spec.Root.Kind {
	case guest.RootDir:
		list = append(list, Mount{Kind: Dir, Target: "/", Upper: spec.Root.Tree(dir), Mapped: spec.Root.IDMap})
	default:
		var lower []string
		for _, l := range spec.Root.Lower {
			if !filepath.IsAbs(l) {
				l = image(l)
			}
			lower = append(lower, l)
		}
		list = append(list, Mount{Kind: Overlay, Target: "/", Layers: below(layers, "upper"), Lower: lower,
			Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")})
	}
	for _, s := range spec.Root.Shared {
		own := filepath.Join("shared", strings.Trim(s, "/"))
		at := filepath.Join(dir, "shared", strings.Trim(s, "/"))
		list = append(list, Mount{Kind: Overlay, Target: s, Layers: below(layers, filepath.Join(own, "upper")), Lower: []string{s},
			Upper: filepath.Join(at, "upper"), Work: filepath.Join(at, "work")})
	}
	list = append(list,
		Mount{Kind: Dev, Target: "/dev", Tun: tun(spec), Devs: spec.Rights.Devices, Memory: spec.Limits.Memory},
		Mount{Kind: Pts, Target: "/dev/pts", Ptys: spec.Limits.Ceiling("ptys")},
		Mount{Kind: Run, Target: "/run", Memory: spec.Limits.Memory},
	)
	if !spec.Network.OwnNet() {
		list = append(list, Mount{Kind: Sys, Target: "/sys"})
	}
	return list
}

// tun tells whether the guest may make tun and tap devices.
func tun(spec *guest.Spec) bool {
	caps, err := spec.Network.NetCaps()
	return err == nil && caps&guest.TunCreate != 0
}

// Owner is whose the mounts are.
type Owner struct {
	Base   uint32 // host id of the guest's root
	Userns int    // fd of the guest's user namespace, -1 when it has none
}

// Make makes the mount and gives its descriptor.
func (m Mount) Make(o Owner) (fd int, err error) {
	switch m.Kind {
	case Overlay:
		fd, err = m.overlay(o)
	case Dir:
		fd, err = m.dir(o)
	case Dev:
		fd, err = dev(int(o.Base), m)
	case Pts:
		fd, err = mount.New("devpts", mount.NoSuid|mount.NoExec, pts(o.Base, m.Ptys)...)
	case Run:
		fd, err = run(int(o.Base), m.Memory)
	case Sys:
		fd, err = sys()
	}
	if err != nil {
		return -1, fmt.Errorf("%s: %w", m.Target, err)
	}
	return fd, nil
}

// pts are the options of a guest's devpts.
func pts(base uint32, most int) []string {
	return []string{"ptmxmode=0666", "mode=0620", "gid=" + strconv.Itoa(int(base)+ttyGroup), "max=" + strconv.Itoa(most)}
}

// Terminals gives a guest that runs, whose ids begin at base, another number of terminals.
// devpts is its own /dev/pts (kernel/pty.Guest).
func Terminals(devpts int, base uint32, most int) error {
	return mount.Reconfigure(devpts, "devpts", pts(base, most)...)
}

// dir is the plain directory, shown with the guest's ids where its own begin at 0.
func (m Mount) dir(o Owner) (fd int, err error) {
	if fd, err = mount.Clone(m.Upper); err != nil || !m.Mapped {
		return fd, err
	}
	if err = mount.SetAttr(fd, 0, o.Userns); err != nil {
		syscall.Close(fd)
		err = fmt.Errorf("%s: %w", m.Upper, err)
		if errors.Is(err, syscall.EINVAL) {
			err = fault.Hint(err, "its file system shows no other ids: `vserver migrate --chown --help` tells how to give the files the guest's own")
		}
		return -1, err
	}
	return fd, nil
}

const ttyGroup = 5 // group tty in every distribution that follows Debian's or Red Hat's base ids

func (m Mount) overlay(o Owner) (int, error) {
	lower := make([]int, 0, len(m.Lower))
	// The overlay has clones of its own. To drop ours takes a grace period of the kernel's
	// each, and nobody needs to wait for that.
	defer func() {
		go func() {
			for _, fd := range lower {
				syscall.Close(fd)
			}
		}()
	}()
	for _, l := range append(slices.Clone(m.Layers), below0(m.Lower)...) {
		fd, err := mount.Clone(l.Dir)
		if err != nil {
			return -1, err
		}
		lower = append(lower, fd)
		if err := o.show(fd, l.Base); err != nil {
			return -1, noIDs(l.Dir, o, err)
		}
	}
	if m.Image != "" {
		return m.inImage(lower)
	}
	upper, err := os.Open(m.Upper)
	if err != nil {
		return -1, err
	}
	defer upper.Close()
	work, err := os.Open(m.Work)
	if err != nil {
		return -1, err
	}
	defer work.Close()
	return mount.Overlay(lower, upper, work)
}

// inImage makes the overlay with what is in a guest's image on top.
func (m Mount) inImage(lower []int) (int, error) {
	upper, err := filepath.Rel(m.Image, m.Upper)
	if err != nil {
		return -1, err
	}
	work, err := filepath.Rel(m.Image, m.Work)
	if err != nil {
		return -1, err
	}
	disk, err := sized.Open(m.Image)
	if err != nil {
		return -1, err
	}
	defer disk.Close()
	own, err := disk.Mount()
	if err != nil {
		return -1, err
	}
	defer syscall.Close(own)
	return mount.OverlayIn(lower, own, upper, work)
}

// below0 is trees of ids from 0 as layers.
func below0(trees []string) (out []Layer) {
	for _, t := range trees {
		out = append(out, Layer{Dir: t})
	}
	return out
}

// show makes a detached mount read-only and has it show the ids of the owner for those
// from base on.
func (o Owner) show(fd int, base uint32) error {
	switch {
	case base == o.Base:
		return mount.SetAttr(fd, mount.ReadOnly, -1)
	case base == 0:
		return mount.SetAttr(fd, mount.ReadOnly, o.Userns)
	}
	userns, err := idmap(base, o.Base)
	if err != nil {
		return err
	}
	defer userns.Close()
	return mount.SetAttr(fd, mount.ReadOnly, int(userns.Fd()))
}

// sys clones the host's /sys, without what is mounted below. The guest's first process
// may not: a sysfs goes with its network namespace, and what is mounted below the one
// that it sees is locked there.
func sys() (fd int, err error) {
	fd, err = mount.Clone("/sys")
	if err != nil {
		return -1, err
	}
	if err := mount.SetAttr(fd, mount.ReadOnly|mount.NoSuid|mount.NoDev|mount.NoExec, -1); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// devices are the nodes every program may count on and no program can do harm with
// (the OCI runtime specification names the same).
var devices = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

// devLinks are the links in /dev. Where a distribution offers a login without asking
// what terminals there are, as runit's services and an inittab that was installed after
// the build do, it is at tty1.
var devLinks = [][2]string{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
	{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}, {"pts/0", "console"}, {"pts/0", "tty1"},
}

// dev makes /dev. It is made by the host: nodes on a tmpfs of a user namespace
// cannot be opened. The guest's root owns it but may make no nodes.
func dev(uid int, m Mount) (fd int, err error) {
	nodes, err := Nodes(m.Devs)
	if err != nil {
		return -1, err
	}
	fd, err = mount.New("tmpfs", mount.NoSuid|mount.NoExec, "mode=0755", part(m.Memory, 50), "nr_inodes=65536",
		"uid="+strconv.Itoa(uid), "gid="+strconv.Itoa(uid))
	if err != nil {
		return -1, err
	}
	err = fillDev(fd, uid)
	if err == nil && m.Tun {
		// The node lets nobody do anything: the kernel asks for net_admin in the network
		// of who uses it.
		if err = mount.Mkdir(fd, "net", 0o755, uid); err == nil {
			err = mount.CharDevice(fd, "net/tun", 10, 200, uid) // TUN_MINOR, linux/miscdevice.h
		}
	}
	if err == nil {
		err = fill(fd, nodes, uid)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func fillDev(fd, uid int) error {
	for _, d := range devices {
		if err := mount.CharDevice(fd, d.name, d.major, d.minor, uid); err != nil {
			return err
		}
	}
	for _, l := range devLinks {
		if err := mount.Symlink(fd, l[0], l[1], uid); err != nil {
			return err
		}
	}
	for name, mode := range map[string]uint32{"pts": 0o755, "mqueue": 0o755, "shm": 0o1777} {
		if err := mount.Mkdir(fd, name, mode, uid); err != nil {
			return err
		}
	}
	return nil
}
