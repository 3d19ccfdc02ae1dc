package rootfs

import (
	"errors"
	"fmt"
	"syscall"

	"vserver/fault"
)

// noIDs says of a shared tree that its mount could not be made, and of a file system that
// shows no other ids what can be done.
func noIDs(path string, o Owner, err error) error {
	out := fmt.Errorf("%s: %w", path, err)
	if o.Userns < 0 || !errors.Is(err, syscall.EINVAL) {
		return out
	}
	return fault.Hint(fmt.Errorf("%s: its file system shows no other ids: %w", path, err),
		"tmpfs does since Linux 6.3, see vserver check; a guest with root.kind dir needs none: vserver build --root dir --method debootstrap")
}
