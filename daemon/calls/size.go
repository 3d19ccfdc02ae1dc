package calls

import (
	"encoding/binary"
	"errors"
	"syscall"
	"time"

	"vserver/kernel/notify"
	"vserver/kernel/proc"
	"vserver/view"
)

// asksSize tells whether a call asks how large the machine is.
func asksSize(r notify.Request) bool {
	return r.Nr == syscall.SYS_SYSINFO || r.Nr == syscall.SYS_SCHED_GETAFFINITY
}

// tell answers such a call. When it cannot be answered as the guest's machine, the
// kernel answers as its own: these numbers are to be useful, they bound nothing.
func (s *Set) tell(t *tree, r notify.Request) {
	answer, at, err := s.told(t, r)
	var e syscall.Errno
	switch {
	case err == nil:
		err = notify.Put(t.listener(), r, at, answer)
	case !errors.As(err, &e):
		notify.Leave(t.listener(), r.ID)
		return
	}
	value := int64(0)
	if r.Nr == syscall.SYS_SCHED_GETAFFINITY {
		value = int64(len(answer))
	}
	errors.As(err, &e)
	notify.Answer(t.listener(), r.ID, value, e) // else the caller is dead
}

// errUnknown is for what the kernel has to answer.
var errUnknown = errors.New("size of the guest's machine is not known")

// told gives what is written for the caller, and where. An error of the kernel's kind is
// the caller's.
func (s *Set) told(t *tree, r notify.Request) (answer []byte, at uint64, err error) {
	if now := time.Now(); now.Sub(t.sizedAt) >= view.Fresh || now.Before(t.sizedAt) {
		size, ok := s.Size(t.name)
		if !ok {
			return nil, 0, errUnknown
		}
		if t.sizedAt.IsZero() {
			t.flags = s.Views(t.name)
		}
		t.size, t.sizedAt = size, now
	}
	if r.Nr == syscall.SYS_SYSINFO {
		var info syscall.Sysinfo_t
		if err := syscall.Sysinfo(&info); err != nil {
			return nil, 0, err
		}
		t.size.Into(&info, t.flags)
		answer, err = binary.Append(nil, binary.NativeEndian, info)
		return answer, r.Args[0], err
	}
	if pid := int32(r.Args[0]); pid != 0 && !isCaller(r.PID, int(pid)) {
		return nil, 0, errUnknown
	}
	mask, err := proc.Affinity(r.PID, int(uint32(r.Args[1])))
	return t.size.Mask(mask), r.Args[2], err
}

// isCaller tells whether a thread has that number in its own pid namespace.
func isCaller(tid, number int) bool {
	d, err := proc.Open()
	if err != nil {
		return false
	}
	defer d.Close()
	st, err := d.Status(tid)
	return err == nil && len(st.NSPIDs) > 0 && st.NSPIDs[len(st.NSPIDs)-1] == number
}
