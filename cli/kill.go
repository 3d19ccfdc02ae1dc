package cli

import (
	"context"
	"fmt"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"vserver/guest"
)

type killFlags struct {
	signal guest.Signal
	xid    string
}

func newKill(t *tool) *cobra.Command {
	var f killFlags
	c := command("kill NAME [OPTION...] [PID...]", `
Sends a signal to processes of a guest, by their pids in the guest, or to its init
when no pid is given. KILL without a pid ends the whole guest at once.

Under the name vkill pids are those on the host, as vps shows them; the guest is
named by --xid, and without it each pid's own guest, or context, is found.`, `
vserver kill web1 -s HUP 2231
vkill --xid web1 -s KILL`,
		func(ctx context.Context, args []string) error { return t.kill(f, args) })
	c.Flags().TextVarP(&f.signal, "signal", "s", guest.Signal(syscall.SIGTERM), "`SIGNAL` by name or number")
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
	pids, err := readPIDs(args)
	if err != nil {
		return err
	}
	return t.about(n, t.host.Kill(n, f.signal, pids...))
}

// vkill sends a signal as the old tool did: processes are named by their numbers on
// the host.
func (t *tool) vkill(f killFlags, args []string) error {
	pids, err := readPIDs(args)
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
		return t.about(want, t.host.Kill(want, f.signal))
	}
	of, err := t.owners()
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		o := of(pid)
		switch {
		case o.xid != 0 && o.name == "" && want == "":
			_, err := t.killContext(killFlags{f.signal, strconv.Itoa(int(o.xid))}, []int{pid})
			errs = append(errs, err)
		case pid == 1 && want != "":
			errs = append(errs, t.about(want, t.host.Kill(want, f.signal, 1)))
		case o.name == "" || want != "" && o.name != want:
			errs = append(errs, t.about(want, fmt.Errorf("process %d: %w", pid, syscall.ESRCH)))
		default:
			errs = append(errs, t.about(o.name, t.host.Kill(o.name, f.signal, o.pid)))
		}
	}
	return join(errs...)
}

// readPIDs reads process numbers.
func readPIDs(words []string) ([]int, error) {
	var pids []int
	for _, w := range words {
		pid, err := strconv.Atoi(w)
		if err != nil || pid < 1 {
			return nil, usagef("%s: not a process number", w)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
