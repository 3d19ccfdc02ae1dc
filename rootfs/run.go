package rootfs

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"vserver/guest"
	"vserver/kernel/mount"
)

// Empty is a directory on the guest's /run that vcontext shows in place of what a
// guest has no business with. It is the host's, so that the guest puts nothing there.
const Empty = "/run/.vserver-empty"

// BootID is a file on the guest's /run with a new UUID, which vcontext shows in place
// of the kernel's boot_id: each start of a guest is a boot of its own to its journal,
// and two guests cannot tell from it that they are on one host.
const BootID = "/run/.vserver-boot-id"

// part bounds a tmpfs by so many percent of the guest's memory, of the host's where the
// guest has no limit below that: who fills it is told so, and not killed for want of memory.
func part(memory guest.Bytes, percent int) string {
	var host syscall.Sysinfo_t
	if err := syscall.Sysinfo(&host); err != nil || memory == 0 || uint64(memory) >= uint64(host.Totalram)*uint64(host.Unit) {
		return "size=" + strconv.Itoa(percent) + "%"
	}
	return "size=" + strconv.FormatInt(int64(memory)/100*int64(percent), 10)
}

func run(uid int, memory guest.Bytes) (fd int, err error) {
	fd, err = mount.New("tmpfs", mount.NoSuid|mount.NoDev, "mode=0755", part(memory, 20), "nr_inodes=800k",
		"uid="+strconv.Itoa(uid), "gid="+strconv.Itoa(uid))
	if err != nil {
		return -1, err
	}
	if err := fillRun(fd); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func fillRun(fd int) error {
	uuid, err := os.ReadFile("/proc/sys/kernel/random/uuid") // a new one for each reader
	if err != nil {
		return err
	}
	if err := mount.File(fd, filepath.Base(BootID), string(uuid), 0); err != nil {
		return err
	}
	return mount.Mkdir(fd, filepath.Base(Empty), 0o555, 0)
}
