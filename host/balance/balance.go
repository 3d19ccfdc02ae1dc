// Package balance divides the machine between the guests that run, where one asks for a
// part of it: weights of processor time and protected memory follow from what all of
// them ask for, so they are found anew whenever a guest comes, goes or changes.
//
// That somebody asks is known by a file, so that it costs the hosts where nobody does
// one look at a name that is not there.
package balance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/limit/share"
)

// patience bounds the wait for another process that divides: it takes a millisecond or
// ten, and has seen what it did not wait for.
const patience = 5 * time.Second

// mark is the file that is there when some guest asks; it is locked while all are
// looked at.
func mark(d guest.Dirs) string { return filepath.Join(d.Run, "balance") }

// Admit makes sure that a guest which is about to get these limits can have what it asks
// for beside those that run, and marks that it asks. The error is guest.ErrBusy.
func Admit(d guest.Dirs, cg cgroup.Host, n guest.Name, l *guest.Limits) error {
	if !share.Balanced(l) {
		return nil
	}
	all, err := claims(d, cg, n)
	if err != nil {
		return err
	}
	memory := int64(0)
	if l.MemoryReserved > 0 {
		var info syscall.Sysinfo_t
		if err := syscall.Sysinfo(&info); err != nil {
			return fmt.Errorf("sysinfo: %w", err)
		}
		memory = int64(info.Totalram) * int64(info.Unit)
	}
	if err := share.Overbooked(append(all, share.Claim{Path: d.Group(n), Limits: *l}), memory); err != nil {
		return err
	}
	f, err := os.OpenFile(mark(d), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Now divides the machine between the guests that run. It does nothing where no guest
// has asked since the last time nobody did. The caller holds no guest's lock.
func Now(d guest.Dirs) error {
	if there, err := file.Exists(mark(d)); err != nil || !there {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	lock, err := file.WaitLock(ctx, mark(d))
	if err != nil {
		return err
	}
	cg, err := cgroup.Find()
	if err != nil {
		return errors.Join(err, lock.Release())
	}
	all, err := claims(d, cg, "")
	if err == nil {
		err = share.Balance(cg, d.Cgroup, all)
	}
	for _, c := range all {
		if err != nil || share.Balanced(&c.Limits) {
			return errors.Join(err, lock.Release())
		}
	}
	return errors.Join(err, lock.Unlock())
}

// claims are what the guests that run ask for, without that of one.
func claims(d guest.Dirs, cg cgroup.Host, without guest.Name) ([]share.Claim, error) {
	names, err := state.AllGrouped(d, cg)
	var all []share.Claim
	for _, n := range names {
		if n == without {
			continue
		}
		if runs, err := state.Runs(d, n); err != nil || !runs {
			continue
		}
		c := share.Claim{Path: d.Group(n)}
		if spec, err := state.Load(d, n); err == nil { // one that cannot be read any more asks for nothing
			c.Limits = spec.Limits
		}
		all = append(all, c)
	}
	return all, err
}
