package quota

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/quota"
)

func kindOf(k guest.QuotaKind) quota.Kind {
	if k == guest.QuotaGroup {
		return quota.Group
	}
	return quota.User
}

// Quotas lists what the users, or groups, of a guest whose ids begin at base have of the
// disk, and may have: all that own a file or have a limit, by their ids.
func (a *Area) Quotas(k guest.QuotaKind, base uint32) ([]guest.Quota, error) {
	if err := a.inside(k, base); err != nil {
		return nil, err
	}
	var out []guest.Quota
	err := a.each(kindOf(k), base, func(r quota.Record) error {
		out = append(out, guest.Quota{
			Kind: k, ID: r.ID - base,
			Used: size(r.UsedSpace), Soft: size(r.SoftSpace), Hard: size(r.Space),
			Inodes: number(r.UsedInodes), SoftInodes: number(r.SoftInodes), HardInodes: number(r.Inodes),
			GraceEnds: int64(r.SpaceGrace), InodeGrace: int64(r.InodesGrace),
		})
		return nil
	})
	return out, err
}

// Record is what the file system knows of a user or group of the guest, by its id in the
// guest; or with next of the first one from there on that it knows of. The error is
// fs.ErrNotExist when there is none.
func (a *Area) Record(k guest.QuotaKind, id, base uint32, next bool) (r quota.Record, err error) {
	if id >= guest.IDs {
		return r, fmt.Errorf("%s %d: %w", k, id, fs.ErrNotExist)
	}
	if err := a.inside(k, base); err != nil {
		return r, err
	}
	if next {
		r, err = quota.Next(a.files(), kindOf(k), base+id)
	} else {
		r, err = quota.Get(a.files(), kindOf(k), base+id)
	}
	if err == nil && r.ID-base >= guest.IDs {
		err = fmt.Errorf("%s %d: %w", k, id, fs.ErrNotExist)
	}
	r.ID -= base
	return r, err
}

// Change gives a user or group of the guest the limits that change leaves in q, which
// begins as what there is.
func (a *Area) Change(k guest.QuotaKind, id, base uint32, change func(q *guest.Quota)) error {
	if id >= guest.IDs {
		return fmt.Errorf("%s %d: want 0 to %d: %w", k, id, guest.IDs-1, guest.ErrInvalid)
	}
	if err := a.inside(k, base); err != nil {
		return err
	}
	r, err := quota.Get(a.files(), kindOf(k), base+id)
	if err != nil {
		return err
	}
	q := guest.Quota{Soft: size(r.SoftSpace), Hard: size(r.Space), SoftInodes: number(r.SoftInodes), HardInodes: number(r.Inodes)}
	change(&q)
	if q.Hard > 0 && q.Soft > q.Hard || q.HardInodes > 0 && q.SoftInodes > q.HardInodes {
		return fmt.Errorf("soft limit above the hard one: %w", guest.ErrInvalid)
	}
	return quota.Set(a.files(), kindOf(k), base+id, quota.Limits{
		Space: uint64(q.Hard), SoftSpace: uint64(q.Soft), Inodes: uint64(q.HardInodes), SoftInodes: uint64(q.SoftInodes),
	})
}

// inside refuses quotas for guests whose users are not told from the host's, and on file
// systems that have none.
func (a *Area) inside(k guest.QuotaKind, base uint32) error {
	if base == 0 {
		return fault.Hint(fmt.Errorf("quota of %ss: the guest has the host's own ids: %w", k, guest.ErrUnsupported), "set userns: private, see doc/limits.md")
	}
	what := fmt.Sprintf("quota of %ss", k)
	if a.by != ByImage {
		return a.enforced(what, kindOf(k))
	}
	if _, on, err := quota.State(a.files(), kindOf(k)); err != nil || on {
		return err
	}
	return fault.Hint(fmt.Errorf("%s: %s was made without: %w", what, a.image.Name(), guest.ErrUnsupported),
		"stop it, and `tune2fs -O quota -Q usrquota,grpquota "+a.image.Name()+"` (a kernel with CONFIG_QFMT_V2)")
}

// files is a directory of the file system that has the guest's own files.
func (a *Area) files() *os.File {
	if a.by == ByImage {
		return a.image.Root()
	}
	return a.dir
}

// each calls do for all ids of a guest of which anything is known.
func (a *Area) each(k quota.Kind, base uint32, do func(quota.Record) error) error {
	counted, _, err := quota.State(a.files(), k)
	if err != nil || !counted {
		return err
	}
	for id := uint64(base); id < uint64(base)+guest.IDs; {
		r, err := quota.Next(a.files(), k, uint32(id))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if uint64(r.ID) >= uint64(base)+guest.IDs || uint64(r.ID) < id {
			return nil
		}
		if err := do(r); err != nil {
			return err
		}
		id = uint64(r.ID) + 1
	}
	return nil
}
