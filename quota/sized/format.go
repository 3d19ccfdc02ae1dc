package sized

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
)

// format makes the file system, with quotas of users and groups in it when this kernel
// mounts one that has them, which try tells: one without CONFIG_QFMT_V2 refuses it.
func format(ctx context.Context, path string, inodes guest.Count, try func() error) error {
	err := mkfs(ctx, path, inodes, "quota", ",quotatype=usrquota:grpquota")
	if err != nil {
		return err
	}
	if err := try(); !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return mkfs(ctx, path, inodes, "^quota", "")
}

func mkfs(ctx context.Context, path string, inodes guest.Count, feature, more string) error {
	// All blocks are the guest's; those of tables that are zero are not written.
	args := []string{"-q", "-F", "-m", "0", "-b", "4096", "-O", feature, "-E", "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,nodiscard" + more}
	if inodes > 0 {
		args = append(args, "-N", strconv.FormatInt(int64(inodes), 10))
	}
	out, err := exec.CommandContext(ctx, "mkfs."+kind, append(args, path)...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fault.Hint(fmt.Errorf("limits.disk: an image needs mkfs.%s: %w", kind, guest.ErrUnsupported), "`apt-get install e2fsprogs`")
	}
	if err != nil {
		return fmt.Errorf("mkfs.%s: %w: %s", kind, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// hasQuotas reads in the superblock whether there are quotas in an ext4.
func hasQuotas(image *os.File) (bool, error) {
	const features, quota = 1024 + 0x64, 0x100 // s_feature_ro_compat, EXT4_FEATURE_RO_COMPAT_QUOTA
	var b [4]byte
	_, err := image.ReadAt(b[:], features)
	return binary.LittleEndian.Uint32(b[:])&quota != 0, err
}

// lacking says why an image with quotas is not mounted, on another kernel than that it was
// made on.
func (d *Disk) lacking(path string, err error) error {
	if !d.quotas || !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return fault.Hint(err, "a kernel without CONFIG_QFMT_V2 takes none with quotas: `tune2fs -O ^quota "+path+"`")
}
