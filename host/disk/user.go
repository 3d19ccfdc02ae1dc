package disk

import (
	"fmt"
	"strconv"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/state"
	"vserver/quota"
)

// databaseSize bounds what is read of a guest's passwd and group files, which the guest
// writes: 4 MiB are some 60,000 users.
const databaseSize = 4 << 20

// Quotas lists what the users, or groups, of a guest have of the disk, by their ids and
// with their names in the guest.
func Quotas(d guest.Dirs, n guest.Name, k guest.QuotaKind) (list []guest.Quota, err error) {
	spec, err := state.Load(d, n)
	if err != nil {
		return nil, err
	}
	err = with(d, n, spec, func(a *quota.Area) error {
		list, err = a.Quotas(k, spec.FirstID())
		return err
	})
	if err != nil || len(list) == 0 {
		return list, err
	}
	names := map[uint32]string{}
	err = database(d, n, spec, k, func(name string, id uint32) {
		if names[id] == "" {
			names[id] = name
		}
	})
	for i := range list {
		list[i].Name = names[list[i].ID]
	}
	return list, err
}

// Area opens the own files of a guest, by which quotas are asked for; base is where its
// ids begin.
func Area(d guest.Dirs, n guest.Name) (a *quota.Area, base uint32, err error) {
	spec, err := state.Load(d, n)
	if err != nil {
		return nil, 0, err
	}
	a, err = quota.OpenHome(d.Guest(n), spec.XID)
	return a, spec.FirstID(), err
}

// SetQuota changes what a user or group of a guest, by name or number, may have of the
// disk.
func SetQuota(d guest.Dirs, n guest.Name, k guest.QuotaKind, who string, change func(*guest.Quota)) error {
	spec, err := state.Load(d, n)
	if err != nil {
		return err
	}
	id, err := find(d, n, spec, k, who)
	if err != nil {
		return err
	}
	return with(d, n, spec, func(a *quota.Area) error { return a.Change(k, id, spec.FirstID(), change) })
}

// find gives the id of a user or group of the guest.
func find(d guest.Dirs, n guest.Name, spec *guest.Spec, k guest.QuotaKind, who string) (id uint32, err error) {
	known := false
	err = database(d, n, spec, k, func(name string, number uint32) {
		if name == who && !known {
			id, known = number, true
		}
	})
	if err != nil || known {
		return id, err
	}
	number, err := strconv.ParseUint(who, 10, 32)
	if err != nil {
		return 0, fault.Hint(fmt.Errorf("%s %q: not known in the guest: %w", k, who, guest.ErrInvalid), "a number needs no name, as in vserver NAME quota user 1000 2G")
	}
	return uint32(number), nil
}

// database calls each for the names in the guest's passwd or group file.
func database(d guest.Dirs, n guest.Name, spec *guest.Spec, k guest.QuotaKind, each func(name string, id uint32)) error {
	path := "etc/passwd"
	if k == guest.QuotaGroup {
		path = "etc/group"
	}
	r, err := files.Root(d, spec, d.Guest(n))
	if err != nil {
		return err
	}
	defer r.Close()
	text, err := r.Read(path, databaseSize)
	if err != nil {
		return nil // a guest needs no such file, and numbers do without it
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(line, ":", 4)
		if len(f) < 4 {
			continue
		}
		if id, err := strconv.ParseUint(f[2], 10, 32); err == nil {
			each(f[0], uint32(id))
		}
	}
	return nil
}
