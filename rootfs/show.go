package rootfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/mount"
	"vserver/quota/sized"
)

// Show makes a mount of a guest's root, or of a directory that it shares, for the host to
// see with the guest's own ids: what is guest id 0's is 0's, and what the host's root
// makes there is the guest's root's. The guest's ids begin at base on the disk, and dir is
// its directory. Nobody writes to it unless it is to be writable.
func (m Mount) Show(dir string, base uint32, writable bool) (fd int, err error) {
	host := Owner{Base: 0, Userns: -1}
	if m.Kind == Dir {
		if m.Mapped {
			base = 0
		}
		if fd, err = mount.Clone(m.Upper); err == nil {
			err = host.shift(fd, base)
		}
		return fd, asIDs(m.Upper, err)
	}
	own, err := m.own(dir)
	if err != nil {
		return -1, err
	}
	lower := []int{own}
	defer func() {
		for _, fd := range lower {
			syscall.Close(fd)
		}
	}()
	if err := host.shift(own, base); err != nil {
		return -1, asIDs(dir, err)
	}
	for _, l := range append(m.Layers, below0(m.Lower)...) {
		fd, err := mount.Clone(l.Dir)
		if err != nil {
			return -1, err
		}
		lower = append(lower, fd)
		if err := host.show(fd, l.Base); err != nil {
			return -1, asIDs(l.Dir, err)
		}
	}
	upper, err := filepath.Rel(dir, m.Upper)
	if err != nil {
		return -1, err
	}
	work, err := filepath.Rel(dir, m.Work)
	if err != nil {
		return -1, err
	}
	if !writable {
		work = ""
	}
	return mount.OverlayIn(lower[1:], own, upper, work)
}

// asIDs says of which tree an error is.
func asIDs(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EINVAL):
		return fault.Hint(fmt.Errorf("%s: its file system shows no other ids: %w", path, err), "vserver push, pull and cp need none")
	}
	return fmt.Errorf("%s: %w", path, err)
}

// own is a mount of where the guest's own files are.
func (m Mount) own(dir string) (fd int, err error) {
	if m.Image == "" {
		return mount.Clone(dir)
	}
	disk, err := sized.Open(m.Image)
	if err != nil {
		return -1, err
	}
	defer disk.Close()
	return disk.Mount()
}

// shift has a detached mount show the ids of the owner for those from base on, and base
// for the host's root, whose the directories around the guest's files are: what belongs
// to an id without a place in the map not even root gets at.
func (o Owner) shift(fd int, base uint32) error {
	if base == o.Base {
		return nil
	}
	ids, err := mapped(fmt.Sprintf("%d %d %d\n0 %d 1", base, o.Base, guest.IDs, base))
	if err != nil {
		return err
	}
	defer ids.Close()
	return mount.SetAttr(fd, 0, int(ids.Fd()))
}
