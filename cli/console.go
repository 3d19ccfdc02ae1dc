package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vserver/daemon/proto"
	"vserver/fault"
	"vserver/guest"
	"vserver/tty"
)

// escapeKey is Ctrl-], as telnet(1) has it.
const escapeKey = 0x1d

type consoleFlags struct{ lines int }

func newConsole(t *tool) *cobra.Command {
	var f consoleFlags
	c := command("console NAME [OPTION...]", `
Attaches the terminal to a guest's console, beginning with the last lines of its
log. Ctrl-] detaches; the guest goes on. Several may be attached, and all may type.
Without a terminal what the console prints is copied until the guest ends, and what
comes in is typed.`, `
vserver web1 console`,
		func(ctx context.Context, args []string) error { return t.console(ctx, f, args) })
	c.Flags().IntVarP(&f.lines, "lines", "n", 20, "begin with the last `N` lines of the log")
	return c
}

// console attaches to a console.
func (t *tool) console(ctx context.Context, f consoleFlags, args []string) error {
	n, err := t.single(args)
	if err != nil {
		return err
	}
	s, err := t.look(n)
	if err == nil && !isUp(s) {
		err = fault.Hint(guest.ErrStopped, "vserver logs "+string(n)+" shows what it printed")
	}
	if err != nil {
		return t.about(n, err)
	}
	return t.about(n, t.attached(ctx, n, f.lines))
}

// hasty is how many attachments in a row may last less than a second, of a guest that
// goes on.
const hasty = 5

// attached is attached to the console until the guest ends or the user detaches: to the
// next vserverd when one dies, which has the console from its keeper.
func (t *tool) attached(ctx context.Context, n guest.Name, lines int) error {
	live := isTerminal(t.in)
	for quick, first := 0, true; ; first = false {
		console, err := proto.Attach(t.host.Dirs, n, lines)
		if errors.Is(err, guest.ErrStopped) && !first {
			return t.detached(n, nil, live)
		}
		if err != nil {
			return err
		}
		if lines = 0; live && first {
			fmt.Fprintf(t.err, "%s: the console; Ctrl-] detaches\n", n)
		}
		began := time.Now()
		err = tty.Attach(ctx, console.File, t.in, t.out.File, tty.Options{Escape: escapeKey, Resize: console.Resize})
		console.Close()
		if time.Since(began) < time.Second {
			quick++
		}
		if s, _ := t.host.Status(n); !lost(err) || !isUp(s) || quick > hasty {
			return t.detached(n, err, live)
		}
	}
}

// lost tells the other side's end from ours.
func lost(err error) bool {
	return err == nil || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// detached is how an attachment ended, as an error of ours.
func (t *tool) detached(n guest.Name, err error, live bool) error {
	var signal tty.SignalError
	switch {
	case errors.Is(err, tty.ErrDetached):
		fmt.Fprintf(t.err, "\r\n%s: detached\n", n)
		return nil
	case errors.As(err, &signal):
		return code(128 + int(signal.Signal))
	case err == nil && live:
		fmt.Fprintf(t.err, "\r\n%s: the console is closed\n", n)
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}
