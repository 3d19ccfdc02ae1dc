package calls

import (
	"slices"
	"syscall"

	"vserver/guest"
	"vserver/kernel/behalf"
	"vserver/kernel/notify"
	"vserver/kernel/pidfd"
	"vserver/kernel/quota"
)

// asksQuota tells whether a call is about quotas.
func asksQuota(r notify.Request) bool {
	return r.Nr == syscall.SYS_QUOTACTL || r.Nr == quota.Syscall
}

// asked is what a call of quotactl(2) wants of the guest's own files, whatever device or
// file it names: a guest sees no device, and has quotas nowhere else.
type asked struct {
	cmd  int
	kind guest.QuotaKind
	id   uint32 // in the guest
	at   uint64
}

func askedOf(r notify.Request) (a asked, ok bool) {
	cmd := uint32(r.Args[0])
	if r.Nr == quota.Syscall {
		cmd = uint32(r.Args[1])
	}
	a = asked{cmd: int(cmd >> 8), id: uint32(r.Args[2]), at: r.Args[3]}
	switch cmd & 0xff {
	case 0:
		a.kind = guest.QuotaUser
	case 1:
		a.kind = guest.QuotaGroup
	default:
		return a, false // projects are the host's, one of them is the guest
	}
	return a, slices.Contains([]int{quota.CmdGet, quota.CmdSet, quota.CmdNext}, a.cmd)
}

// count answers a call about quotas, for ccap quota_ctl.
func (s *Set) count(t *tree, r notify.Request) {
	a, ok := askedOf(r)
	err := error(syscall.EINVAL)
	if ok {
		err = s.counted(t, r, a)
	}
	notify.Answer(t.listener(), r.ID, 0, errnoOf(err)) // else the caller is dead
}

// counted does what is asked. The rule of who may is the kernel's: root all, others look
// at what is theirs.
func (s *Set) counted(t *tree, r notify.Request, a asked) error {
	init, err := pidfd.PID(t.init())
	if err != nil || init <= 0 {
		return syscall.EPERM
	}
	c, err := behalf.Look(r.PID)
	if err != nil {
		return err
	}
	area, base, err := s.Area(t.name)
	if err != nil {
		return err
	}
	defer area.Close()
	if !c.May(init, behalf.SysAdmin) && (a.cmd == quota.CmdSet || a.cmd == quota.CmdNext || !isOwn(c, a, base)) {
		return syscall.EPERM
	}
	if a.cmd == quota.CmdSet {
		b := make([]byte, quota.BlockSize)
		if err := notify.Get(t.listener(), r, a.at, b); err != nil {
			return err
		}
		space, inodes, err := quota.ParseLimits(b)
		if err != nil {
			return err
		}
		return area.Change(a.kind, a.id, base, func(q *guest.Quota) {
			if space != nil {
				q.Soft, q.Hard = guest.Bytes(space[0]), guest.Bytes(space[1])
			}
			if inodes != nil {
				q.SoftInodes, q.HardInodes = guest.Count(inodes[0]), guest.Count(inodes[1])
			}
		})
	}
	next := a.cmd == quota.CmdNext
	record, err := area.Record(a.kind, a.id, base, next)
	if err != nil {
		return err
	}
	return notify.Put(t.listener(), r, a.at, record.Bytes(next))
}

// isOwn tells whether a quota is that of a caller, or of a group of its own.
func isOwn(c *behalf.Caller, a asked, base uint32) bool {
	uid, groups := c.IDs()
	if a.kind == guest.QuotaUser {
		return uid == base+a.id
	}
	return slices.Contains(groups, base+a.id)
}
