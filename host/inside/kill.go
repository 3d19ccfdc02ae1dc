package inside

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
)

// end kills all that is in a group. One that has just gone is that of a guest that stopped.
func end(g *cgroup.Group) error {
	err := g.Kill()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		err = guest.ErrStopped
	}
	return err
}

// Kill sends a signal to processes of a guest, by their numbers in the guest; to its
// init when there are none. SIGKILL without numbers ends the whole guest at once.
func Kill(d guest.Dirs, n guest.Name, sig guest.Signal, pids []int) error {
	cg, err := cgroup.Find()
	if err != nil {
		return err
	}
	g, err := cg.Open(d.Group(n))
	if errors.Is(err, fs.ErrNotExist) {
		return state.Absent(d, n)
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if len(pids) == 0 {
		if syscall.Signal(sig) == syscall.SIGKILL {
			return end(g)
		}
		in, err := Enter(d, n)
		if err != nil {
			return err
		}
		defer in.Close()
		// A dead init that nobody has waited for yet takes signals, and heeds none.
		// For a moment of its end the group is empty already and the pidfd says nothing.
		dead, err := pidfd.Ended(in.pidfd)
		if err == nil && !dead {
			var populated bool
			populated, err = g.Populated()
			dead = !populated
		}
		if err != nil || dead {
			return errors.Join(err, guest.ErrStopped)
		}
		return in.Signal(syscall.Signal(sig))
	}
	members, err := g.Procs()
	if err != nil {
		return err
	}
	return signalInside(members, pids, syscall.Signal(sig))
}

// KillAll sends a signal to all processes of a guest that runs, to its init as well if so
// wished.
func KillAll(d guest.Dirs, n guest.Name, sig guest.Signal, init bool) error {
	in, err := Enter(d, n)
	if err != nil {
		return err
	}
	defer in.Close()
	if init && syscall.Signal(sig) == syscall.SIGKILL {
		return in.Group.Kill()
	}
	members, err := in.Group.Procs()
	if err != nil {
		return err
	}
	for _, m := range members {
		if m == in.Note.PID && !init {
			continue
		}
		if err := syscall.Kill(m, syscall.Signal(sig)); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("process %d: %w", m, err)
		}
	}
	return nil
}

// signalInside sends sig to those of the host's processes members that have one of
// the numbers pids in their own pid namespace.
func signalInside(members, pids []int, sig syscall.Signal) error {
	want := map[int]bool{}
	for _, p := range pids {
		want[p] = true
	}
	for _, m := range members {
		inner, ok := innerPID(m)
		if !ok || !want[inner] {
			continue
		}
		if err := syscall.Kill(m, sig); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("process %d: %w", inner, err)
		}
		delete(want, inner)
	}
	for p := range want {
		return fmt.Errorf("process %d: %w", p, syscall.ESRCH)
	}
	return nil
}

// innerPID gives the number of a process in the innermost pid namespace it is in.
func innerPID(pid int) (int, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	_, rest, ok := bytes.Cut(text, []byte("\nNSpid:"))
	line, _, _ := strings.Cut(string(rest), "\n")
	fields := strings.Fields(line)
	if !ok || len(fields) < 2 {
		return 0, false
	}
	inner, err := strconv.Atoi(fields[len(fields)-1])
	return inner, err == nil
}
