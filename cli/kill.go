package cli

import (
	"context"
	"fmt"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

type killFlags struct {
	signal anySignal
	xid    string
}

// anySignal may be 0, by which kill(2) only looks for a process.
type anySignal struct{ guest.Signal }

// UnmarshalText reads what guest.Signal reads, or 0.
func (s *anySignal) UnmarshalText(b []byte) error {
	if string(b) == "0" {
		s.Signal = 0
		return nil
	}
	return s.Signal.UnmarshalText(b)
}

func newKill(t *tool) *cobra.Command {
	var f killFlags
	c := command("kill NAME [OPTION...] [PID...]", `
Sends a signal to processes of a guest, by their pids in the guest, or to its init
when no pid is given. KILL without a pid ends the whole guest at once. The signal 0
tells by the exit code whether there is such a process.

Under the name vkill pids are those on the host, as vps shows them; the guest is
named by --xid, and without it each pid's own guest, or context, is found. No pid, or
0, is all processes of the guest, 1 its init, and -1 all others.`, `
vserver kill web1 -s HUP 2231
vkill --xid web1 -s KILL
vkill --xid web1 -s TERM -- -1`,
		func(ctx context.Context, args []string) error { return t.kill(f, args) })
	c.Flags().TextVarP(&f.signal, "signal", "s", anySignal{guest.Signal(syscall.SIGTERM)}, "`SIGNAL` by name or number")
	c.Flags().StringVarP(&f.xid, "xid", "c", "", "`NAME` or xid of the guest")
	return c
}

// kill sends a signal into a guest.
func (t *tool) kill(f killFlags, args []string) error {
	if t.program == "vkill" {
		return t.vkill(f, args)
	}
	if f.xid != "" && t.subject == "" {
		t.subject = f.xid
	}
	n, args, err := t.one(args)
	if err != nil {
		return err
	}
	pids, err := readPIDs(args, 1)
	if err != nil {
		return err
	}
	return t.about(n, t.host.Kill(n, f.signal.Signal, pids...))
}

// vkill sends a signal as the old tool did: processes are named by their numbers on
// the host.
func (t *tool) vkill(f killFlags, args []string) error {
	pids, err := readPIDs(args, everyoneElse)
	if err != nil {
		return err
	}
	if done, err := t.killContext(f, pids); done {
		return err
	}
	var want guest.Name
	if f.xid != "" {
		if want, err = t.name(f.xid); err != nil {
			return err
		}
	}
	if len(pids) == 0 {
		if want == "" {
			return usageHint("vkill --help", "which guest, or which process?")
		}
		pids = []int{everyone}
	}
	of, err := t.owners()
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		o := of(pid)
		switch {
		case pid < 1 && want != "":
			errs = append(errs, t.about(want, host.KillAll(t.host, want, f.signal.Signal, pid == everyone)))
		case o.xid != 0 && o.name == "" && want == "":
			_, err := t.killContext(killFlags{f.signal, strconv.Itoa(int(o.xid))}, []int{pid})
			errs = append(errs, err)
		case pid == 1 && want != "":
			errs = append(errs, t.about(want, t.host.Kill(want, f.signal.Signal, 1)))
		case o.name == "" || want != "" && o.name != want:
			errs = append(errs, t.about(want, fmt.Errorf("process %d: %w", pid, syscall.ESRCH)))
		default:
			errs = append(errs, t.about(o.name, t.host.Kill(o.name, f.signal.Signal, o.pid)))
		}
	}
	return join(errs...)
}

// The numbers that vkill has for a guest's processes together.
const (
	everyone     = 0
	everyoneElse = -1 // but its init
)

// readPIDs reads process numbers, none below least.
func readPIDs(words []string, least int) ([]int, error) {
	var pids []int
	for _, w := range words {
		pid, err := strconv.Atoi(w)
		if err != nil || pid < least {
			return nil, usagef("%s: not a process number", w)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
