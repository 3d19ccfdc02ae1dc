package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"vserver/daemon/proto"
	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

type eventsFlags struct {
	only  []string
	count int
}

func newEvents(t *tool) *cobra.Command {
	var f eventsFlags
	c := command("events [NAME...] [OPTION...]", `
Tells what happens to guests from now on, a line each, until it is interrupted: started, found
(running, by a vserverd that was not there at its start), ended (with how), restart (it will be started again, and
when), failed (such a start), oom (the kernel killed in it for want of memory), limit (it ran against one of
its limits; looked at every two seconds, without that of the processor, which is a rate). When vserverd was
restarted, or events came faster than they were read, a line gap says that some may be missing. With --json each is an
object on a line of its own.`, `
vserver events
vserver events web1 --only oom,limit
vserver events --json | while read -r event; do logger -t guests "$event"; done
vserver events web1 --only oom -n 1 && mail -s "web1 is out of memory" root </dev/null`,
		func(ctx context.Context, args []string) error { return t.events(ctx, f, args) })
	c.Flags().StringSliceVar(&f.only, "only", nil, "only events of these `KINDS`, with commas")
	c.Flags().IntVarP(&f.count, "count", "n", 0, "end after `N` events; 0 never ends")
	var kinds []string
	for _, k := range guest.EventKinds() {
		kinds = append(kinds, string(k))
	}
	c.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// events tells what happens to guests.
func (t *tool) events(ctx context.Context, f eventsFlags, args []string) error {
	for _, kind := range f.only {
		if err := guest.EventKind(kind).Known(); err != nil {
			return usagef("--only: %v", err)
		}
	}
	if f.count < 0 {
		return usagef("--count: want a number from 0")
	}
	var names []guest.Name
	if len(args) > 0 || t.subject != "" {
		var err error
		if names, err = t.names(args); err != nil {
			return err
		}
	}
	for _, n := range names {
		if !host.Exists(t.host, n) {
			return t.about(n, guest.ErrNotFound)
		}
	}
	err := t.follow(ctx, func(e guest.Event) (bool, error) {
		if len(f.only) > 0 && !slices.Contains(f.only, string(e.Kind)) ||
			len(names) > 0 && e.Guest != "" && !slices.Contains(names, e.Guest) {
			return true, nil
		}
		f.count--
		return f.count != 0, t.event(e)
	})
	if errors.Is(err, context.Canceled) {
		err = nil // that is how it ends
	}
	return err
}

// follow gives the events to take, as long as that wants more.
func (t *tool) follow(ctx context.Context, take func(guest.Event) (more bool, err error)) error {
	stream, err := proto.Watch(t.host.Dirs, false)
	for more := true; more && err == nil; {
		var e guest.Event
		e, err = stream.Next(ctx)
		if errors.Is(err, io.EOF) {
			stream.Close()
			if stream, err = proto.Watch(t.host.Dirs, true); err != nil {
				return fault.Hint(errors.New("vserverd has ended"), "vserver events")
			}
			e = guest.Event{Time: time.Now(), Kind: guest.EventGap, Text: "events may be missing"}
		}
		if err == nil {
			more, err = take(e)
		}
	}
	if stream != nil {
		stream.Close()
	}
	return err
}

// event prints one.
func (t *tool) event(e guest.Event) (err error) {
	if t.json {
		return writeJSONLine(t.out, e)
	}
	words := fault.Plain(e.Text)
	if e.Guest != "" {
		words = string(e.Guest) + " " + words
	}
	_, err = fmt.Fprintln(t.out, e.Time.Local().Format(time.DateTime), words)
	return err
}
