package calls

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"strconv"
	"syscall"

	"vserver/guest"
	"vserver/kernel/behalf"
	"vserver/kernel/notify"
	"vserver/kernel/pidfd"
	"vserver/kernel/proc"
)

// asksLimit tells whether a call sets a limit of setrlimit(2).
func asksLimit(r notify.Request) bool {
	return r.Nr == proc.SysPrlimit || r.Nr == syscall.SYS_SETRLIMIT && strconv.IntSize == 64
}

// raise raises a hard limit of the caller's, for ccap set_rlimit. All that needs nobody's
// help is left to the kernel, with its own rules: lowering one, and limits of others.
func (s *Set) raise(t *tree, r notify.Request) {
	resource, at, old := int(uint32(r.Args[0])), r.Args[1], uint64(0)
	if r.Nr == proc.SysPrlimit {
		resource, at, old = int(uint32(r.Args[1])), r.Args[2], r.Args[3]
		if pid := int32(r.Args[0]); pid != 0 && !isCaller(r.PID, int(pid)) {
			notify.Leave(t.listener(), r.ID)
			return
		}
	}
	was, err := raised(t, r, resource, at)
	if errors.Is(err, errUnknown) {
		notify.Leave(t.listener(), r.ID)
		return
	}
	if err == nil && old != 0 {
		b := binary.NativeEndian.AppendUint64(nil, was.Soft)
		err = notify.Put(t.listener(), r, old, binary.NativeEndian.AppendUint64(b, was.Hard))
	}
	notify.Answer(t.listener(), r.ID, 0, errnoOf(err)) // else the caller is dead
}

// raised sets the limit that a caller has at an address of its memory, and gives what was
// before. errUnknown is for what the kernel has to answer.
func raised(t *tree, r notify.Request, resource int, at uint64) (was proc.Rlimit, err error) {
	if names := guest.Rlimits(); at == 0 || resource >= len(names) || names[resource] == "nice" || names[resource] == "rtprio" {
		return was, errUnknown // a guest's place among others is not its own
	}
	b := make([]byte, 16)
	if err := notify.Get(t.listener(), r, at, b); err != nil {
		return was, err
	}
	wish := proc.Rlimit{Soft: binary.NativeEndian.Uint64(b), Hard: binary.NativeEndian.Uint64(b[8:])}
	was, err = proc.Limit(r.PID, resource, nil)
	if err != nil || wish.Hard <= was.Hard || wish.Soft > wish.Hard {
		return was, errUnknown
	}
	init, err := pidfd.PID(t.init())
	if err != nil || init <= 0 {
		return was, syscall.EPERM
	}
	top, err := proc.Limit(init, resource, nil)
	if err != nil {
		return was, err
	}
	c, err := behalf.Look(r.PID)
	if err != nil {
		return was, err
	}
	if !c.May(init, behalf.SysResource) || wish.Hard > top.Hard || !notify.Waits(t.listener(), r.ID) {
		return was, syscall.EPERM
	}
	_, err = proc.Limit(r.PID, resource, &wish)
	return was, err
}

// errnoOf gives the kernel's number of an error; EPERM for one that has none.
func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	switch {
	case err == nil || errors.As(err, &e):
		return e
	case errors.Is(err, guest.ErrUnsupported):
		return syscall.ESRCH // as by a file system without quotas
	case errors.Is(err, guest.ErrInvalid):
		return syscall.EINVAL
	case errors.Is(err, fs.ErrNotExist):
		return syscall.ENOENT
	}
	return syscall.EPERM
}
