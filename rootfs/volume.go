package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/mount"
)

// Volume is something of the host's, or of its own, that the guest finds below its
// root: an entry of the spec's mounts.
type Volume struct {
	guest.Mount
	File   bool // it is no directory
	source string
}

// Volumes lists those of a guest. dir is where volumes are kept. A source that is not
// there is an error, or passed over with the option nofail.
func Volumes(spec *guest.Spec, dir string) ([]Volume, error) {
	var list []Volume
	for _, m := range spec.Mounts {
		v := Volume{Mount: m, source: m.Source}
		switch m.Type {
		case guest.MountTmpfs:
		case guest.MountVolume: // made when it is missing
			v.source = filepath.Join(dir, m.Source)
		default:
			info, err := os.Stat(m.Source)
			if errors.Is(err, fs.ErrNotExist) && m.Has("nofail") {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("mounts: %s: %w", m.Target, err)
			}
			v.File = m.Type == guest.MountBind && !info.IsDir()
		}
		list = append(list, v)
	}
	return list, nil
}

// String tells the mount in a line.
func (v Volume) String() string {
	return fmt.Sprintf("make %s mount of %s for %s", v.Type, v.source, v.Target)
}

// Make makes the mount, and a volume that is missing, and gives its descriptor.
func (v Volume) Make(o Owner) (fd int, err error) {
	switch v.Type {
	case guest.MountTmpfs:
		fd, err = v.tmpfs(o)
	case guest.MountBind:
		fd, err = v.clone(o)
	case guest.MountVolume:
		if err = makeVolume(v.source); err == nil {
			fd, err = v.clone(o)
		}
	default:
		fd, err = v.disk(o)
	}
	if err != nil {
		return -1, fmt.Errorf("mounts: %s: %w", v.Target, err)
	}
	return fd, nil
}

// makeVolume makes the directory of a volume. Nobody but root gets at what is in it
// from the host: a set-user-ID program that a guest's root makes there is host root's
// on the disk.
func makeVolume(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := syscall.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (v Volume) clone(o Owner) (fd int, err error) {
	if v.Has("rbind") {
		fd, err = mount.CloneAll(v.source)
	} else {
		fd, err = mount.Clone(v.source)
	}
	if err != nil {
		return -1, err
	}
	if err := v.show(fd, o); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (v Volume) disk(o Owner) (fd int, err error) {
	options := v.Made()
	if v.Has("ro") {
		options = append(options, "ro")
	}
	if fd, err = mount.Disk(v.Type, v.source, 0, options...); err != nil {
		return -1, err
	}
	if err = v.show(fd, o); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// show sets the attributes of a mount.
func (v Volume) show(fd int, o Owner) error {
	userns := -1
	if v.Mapped() {
		userns = o.Userns
	}
	pairs, err := v.Pairs()
	if err != nil {
		return err
	}
	if pairs != nil {
		ids, err := only(pairs, o.Base)
		if err != nil {
			return err
		}
		defer ids.Close()
		userns = int(ids.Fd())
	}
	set := mount.SetAttr
	if v.Has("rbind") {
		set = mount.SetAttrAll
	}
	err = set(fd, v.attributes(), userns)
	if userns >= 0 && errors.Is(err, syscall.EINVAL) {
		return fault.Hint(fmt.Errorf("%s: its file system shows no ids of others: %w", v.source, err),
			"vserver NAME edit, and leave idmap out of mounts: the files then want the ids of the guest")
	}
	return err
}

// attributes are those of the mount. Devices never work there.
func (v Volume) attributes() uint64 {
	attr := uint64(mount.NoDev)
	for _, a := range []struct {
		option string
		attr   uint64
	}{{"ro", mount.ReadOnly}, {"nosuid", mount.NoSuid}, {"noexec", mount.NoExec}, {"noatime", mount.NoAtime}} {
		if v.Has(a.option) {
			attr |= a.attr
		}
	}
	return attr
}

// tmpfs makes one whose root is the guest's. Ids among the options are the guest's.
func (v Volume) tmpfs(o Owner) (fd int, err error) {
	ids := map[string]int{"uid": 0, "gid": 0}
	var options []string
	for _, option := range v.Made() {
		key, value, _ := strings.Cut(option, "=")
		if _, is := ids[key]; !is {
			options = append(options, option)
			continue
		}
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return -1, fmt.Errorf("option %s: want a number of the guest's: %w", option, guest.ErrInvalid)
		}
		ids[key] = int(n)
	}
	for key, id := range ids {
		options = append(options, key+"="+strconv.Itoa(int(o.Base)+id))
	}
	if v.Has("ro") {
		options = append(options, "ro")
	}
	return mount.New("tmpfs", int(v.attributes()), options...)
}
