package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/vcontext/alone"
)

// The exit codes of vwait, which vserver wait shares where they do not clash with
// those of every verb.
const (
	waitKilled  = 1
	waitTimeout = 2
	waitError   = 127 // only under the name vwait
)

type waitFlags struct {
	timeout   guest.Duration
	terminate bool
	statusFD  int
}

func newWait(t *tool) *cobra.Command {
	f := waitFlags{statusFD: -1}
	c := command("wait NAME [OPTION...]", `
Waits until a guest, or a context without one, has ended. The exit code is 0 then, 2 when the time was over
first, 1 when it was and --terminate had the guest killed. Under the name vwait
every other failure gives 127.`, `
vserver wait web1
vwait --timeout 30 --terminate web1`,
		func(ctx context.Context, args []string) error { return t.wait(ctx, f, args) })
	c.Flags().TextVarP(&f.timeout, "timeout", "t", guest.Duration(0), "`TIME` to wait at most; 0 has no end")
	c.Flags().BoolVar(&f.terminate, "terminate", false, "kill the guest when the time is over")
	c.Flags().IntVar(&f.statusFD, "status-fd", -1, "write FINISHED, TIMEOUT, KILLED or ERROR to descriptor `FD`")
	c.Flags().Lookup("status-fd").DefValue = ""
	return c
}

// wait waits until a guest has ended.
func (t *tool) wait(ctx context.Context, f waitFlags, args []string) error {
	word, err := t.waitFor(ctx, f, args)
	if f.statusFD >= 0 {
		if _, werr := fmt.Fprintln(os.NewFile(uintptr(f.statusFD), "status"), word); err == nil {
			err = werr
		}
	}
	var c code
	if t.program == "vwait" && err != nil && !errors.As(err, &c) {
		t.say(err)
		return code(waitError)
	}
	return err
}

// waitFor waits, and gives the word for --status-fd.
func (t *tool) waitFor(ctx context.Context, f waitFlags, args []string) (string, error) {
	x, err := t.aloneOf(args)
	if err != nil {
		return "ERROR 1", err
	}
	if x != nil {
		defer x.Close()
		return waitedFor(ctx, f.timeout, f.terminate, x.Wait, func() error { return x.Signal(syscall.SIGKILL) })
	}
	n, err := t.single(args)
	if err != nil {
		return "ERROR 1", err
	}
	if _, err := t.look(n); err != nil { // no guest would be waited for in no time
		return "ERROR 1", t.about(n, err)
	}
	word, err := waitedFor(ctx, f.timeout, f.terminate,
		func(ctx context.Context) error { return t.host.Wait(ctx, n) },
		func() error { return t.host.Kill(n, guest.Signal(syscall.SIGKILL)) })
	return word, t.about(n, err)
}

// aloneOf opens the context without a guest whose number is the one word; nil when the
// words are not that.
func (t *tool) aloneOf(args []string) (*alone.Context, error) {
	if t.subject != "" {
		args = append([]string{t.subject}, args...)
	}
	if len(args) != 1 {
		return nil, nil
	}
	id, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil {
		return nil, nil
	}
	x, err := alone.Open(t.host.Dirs, guest.XID(id))
	if errors.Is(err, guest.ErrNotFound) {
		return nil, nil
	}
	return x, err
}

// waitedFor waits until the time is over, and kills then if it is asked to.
func waitedFor(ctx context.Context, timeout guest.Duration, terminate bool, wait func(context.Context) error, kill func() error) (string, error) {
	limited := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, time.Duration(timeout))
		defer cancel()
	}
	err := wait(limited)
	switch {
	case err == nil:
		return "FINISHED 0", nil
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return "ERROR 1", err
	case !terminate:
		return "TIMEOUT", code(waitTimeout)
	}
	if err := kill(); err != nil {
		return "ERROR 1", err
	}
	if err := wait(ctx); err != nil {
		return "ERROR 1", err
	}
	return "KILLED", code(waitKilled)
}
