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
// root. The values were let through by the spec's checks, so that none is the host's. It
// gives those that were before; with an error all are as they were.
func Give(init int, owner uint32, values map[string]string, ownNet bool) (was map[string]string, err error) {
	if len(values) == 0 {
		return nil, nil
	}
	flags := syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	if ownNet {
		flags |= syscall.CLONE_NEWNET
	}
	was = make(map[string]string, len(values))
	err = ns.Inside(init, flags, func() error {
		for name := range values {
			if value, err := proc.Sysctl(name); err == nil { // some are for writing alone
				was[name] = value
			}
		}
		return give(owner, values)
	})
	if err == nil {
		return was, nil
	}
	return nil, errors.Join(err, ns.Inside(init, flags, func() error {
		maps.DeleteFunc(was, func(name, value string) bool {
			now, err := proc.Sysctl(name)
			return err == nil && now == value
		})
		return give(owner, was)
	}))
}

// give sets what it can, in the guest's namespaces.
func give(owner uint32, values map[string]string) error {
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
