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
// with ownNet, network. init is a pidfd of the guest's init, owner the host id of its
// root. The values were let through by the spec's checks, so that none is the host's.
// Those that go before are not undone by an error.
func Give(init int, owner uint32, values map[string]string, ownNet bool) error {
	if len(values) == 0 {
		return nil
	}
	flags := syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	if ownNet {
		flags |= syscall.CLONE_NEWNET
	}
	return ns.Inside(init, flags, func() error {
		var errs []error
		var owned []string
		for _, name := range slices.Sorted(maps.Keys(values)) {
			err := proc.SetSysctl(name, values[name])
			if errors.Is(err, fs.ErrPermission) && owner != 0 {
				owned = append(owned, name)
			} else if err != nil {
				errs = append(errs, because(name, values[name], err))
			}
		}
		if len(owned) == 0 {
			return errors.Join(errs...)
		}
		// Newer kernels let the namespace's owner set those of IPC, and nobody else.
		if err := ns.Seem(owner); err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, name := range owned {
			if err := proc.SetSysctl(name, values[name]); err != nil {
				errs = append(errs, because(name, values[name], err))
			}
		}
		return errors.Join(errs...)
	})
}

// because says why a setting could not be set.
func because(name, value string, err error) error {
	var e syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fault.Hint(fmt.Errorf("%w: %w", syscall.ENOENT, guest.ErrUnsupported), "a setting can belong to a module that is not loaded; `sysctl -a` on the host lists them")
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("is one for the whole host: %w", guest.ErrUnsupported)
	case errors.As(err, &e):
		err = e
	}
	return fmt.Errorf("rights.sysctls.%s=%s: %w", name, value, err)
}
