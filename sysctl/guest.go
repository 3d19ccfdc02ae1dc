package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/ns"
	"vserver/kernel/proc"
)

// Give sets settings of the namespaces that a guest has for itself: IPC, host name and,
// with ownNet, network. init is a pidfd of the guest's init. The values were let through
// by the spec's checks, so that none is the host's. Those that go before are not undone
// by an error.
func Give(init int, values map[string]string, ownNet bool) error {
	if len(values) == 0 {
		return nil
	}
	flags := syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	if ownNet {
		flags |= syscall.CLONE_NEWNET
	}
	return ns.Inside(init, flags, func() error {
		var errs []error
		for _, name := range slices.Sorted(maps.Keys(values)) {
			err := proc.SetSysctl(name, values[name])
			switch {
			case err == nil:
				continue
			case errors.Is(err, fs.ErrNotExist):
				err = fault.Hint(fmt.Errorf("%w: %w", syscall.ENOENT, guest.ErrUnsupported), "a setting can belong to a module that is not loaded; `sysctl -a` on the host lists them")
			case errors.Is(err, fs.ErrPermission):
				err = fmt.Errorf("is one for the whole host: %w", guest.ErrUnsupported)
			default:
				var e syscall.Errno
				if errors.As(err, &e) {
					err = e
				}
			}
			errs = append(errs, fmt.Errorf("rights.sysctls.%s=%s: %w", name, values[name], err))
		}
		return errors.Join(errs...)
	})
}
