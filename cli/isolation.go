package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/isolation"
	"vserver/isolation/attack"
)

// isolated is what check --isolation says, for --json.
type isolated struct {
	Mode    guest.NetMode    `json:"mode"`
	Userns  guest.Userns     `json:"userns"`
	OK      bool             `json:"ok"` // no attack came off
	Attacks []attack.Outcome `json:"attacks"`
}

// isolation tries the attacks on this host.
func (t *tool) isolation(ctx context.Context, f checkFlags) error {
	end, err := sweeper()
	if err != nil {
		return err
	}
	out := isolated{Mode: guest.NetMode(f.mode), Userns: guest.Userns(f.userns), OK: true}
	o := isolation.Options{Mode: out.Mode, Userns: out.Userns}
	if !t.json {
		o.Each = func(a attack.Outcome) {
			if !f.problems || a.Bad() {
				t.out.WriteString(t.outcomeText(a))
			}
		}
	}
	out.Attacks, err = isolation.Run(ctx, t.host, o)
	if err := errors.Join(err, end()); err != nil {
		return err
	}
	bad := 0
	for _, a := range out.Attacks {
		if a.Bad() {
			bad++
		}
	}
	out.OK = bad == 0
	if t.json {
		if err := writeJSON(t.out, out); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fault.Hint(fmt.Errorf("%d of %d attacks were not refused", bad, len(out.Attacks)), lackHint(out.Mode))
	}
	if !t.json {
		fmt.Fprintf(t.out, "%d attacks, none came off\n", len(out.Attacks))
	}
	return nil
}

// lackHint says where to look when attacks came off in guests of a mode.
func lackHint(m guest.NetMode) string {
	if m == guest.NetHost {
		return "a guest of mode host has the host's network, with all that serves there: vserver check --isolation --mode shared tries one that has not"
	}
	return "vserver check --problems says what this host lacks"
}

// outcomeText is an attack in a line.
func (t *tool) outcomeText(a attack.Outcome) string {
	word, text := t.paint("refused  ", "32"), a.Errno
	switch {
	case a.Bad():
		word, text = t.paint("BAD      ", "31"), a.Verdict+" "+a.Errno+a.Said
	case a.Verdict == attack.Allowed:
		word, text = t.paint("allowed  ", "33"), a.Why
	}
	return fmt.Sprintf("%s %s%-2d  %s: %s\n", word, a.Class, a.Row, a.Name, text)
}

// sweeper starts a process that takes away what this one leaves, should it be killed:
// its input ends then. end ends it, when there is nothing to sweep any more.
func sweeper() (end func() error, err error) {
	c := exec.Command("/proc/self/exe", "check", "--isolation-sweep")
	c.Args[0] = "vserver"
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends us from a terminal is not for it
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() error { return errors.Join(in.Close(), c.Wait()) }, nil
}

// sweepIsolation waits for the end of its input, and takes away what there is left.
func (t *tool) sweepIsolation(ctx context.Context) error {
	io.Copy(io.Discard, os.Stdin)
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return isolation.Sweep(ctx, t.host)
}
