package cli

import (
	"context"
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
Sends a signal to processes of a guest, by their pids on the host as vserver ps
shows them, or to the guest's init when no pid is given; pid 1 is the init too. A
process that is not of this guest gets no signal.

Under the name vkill the guest is named by --xid, and without --xid each pid's own
guest is found.`, `
vserver kill web1 -s HUP 2231
vkill --xid web1 -s KILL`,
		func(ctx context.Context, args []string) error { return t.kill(f, args) })
	c.Flags().TextVarP(&f.signal, "signal", "s", guest.Signal(syscall.SIGTERM), "`SIGNAL` by name or number")
	c.Flags().StringVarP(&f.xid, "xid", "c", "", "`NAME` or xid of the guest")
	return c
}

// kill sends a signal into a guest.
func (t *tool) kill(f killFlags, args []string) error {
	if f.xid != "" && t.subject == "" {
		t.subject = f.xid
	}
	if t.program == "vkill" && t.subject == "" {
		return t.killByPID(f.signal, args)
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

// killByPID sends a signal to processes whose guests are looked up.
func (t *tool) killByPID(sig guest.Signal, args []string) error {
	pids, err := readPIDs(args)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return usageHint("vkill --help", "which guest, or which process?")
	}
	of, err := t.owners()
	if err != nil {
		return err
	}
	var errs many
	for _, pid := range pids {
		o := of(pid)
		if o.name == "" {
			errs = append(errs, usagef("process %d is of no guest", pid))
			continue
		}
		if err := t.host.Kill(o.name, sig, pid); err != nil {
			errs = append(errs, t.about(o.name, err))
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
