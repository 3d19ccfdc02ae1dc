package daemon

import (
	"fmt"
	"maps"
	"slices"

	"vserver/guest"
	"vserver/host/hoard"
)

// hoard has guests kept from taking what no limit of the kernel holds.
func (w *worker) hoard() {
	names := slices.Collect(maps.Keys(w.guests))
	if len(names) == 0 {
		w.loop.After(hoard.Pause, w.hoard)
		return
	}
	go func() {
		list, all, err := w.acts.Hoard(names)
		pause := hoard.Pause
		if all && len(list) == 0 {
			pause = hoard.Rest
		}
		w.loop.Post(func() {
			if err != nil {
				w.say("locks on files: %v", err)
			}
			for _, e := range list {
				w.hoarded(e)
			}
			w.loop.After(pause, w.hoard)
		})
	}()
}

// hoarded says what was ended: in our log, in the guest's, to those who look at its console
// and to those who are told of events.
func (w *worker) hoarded(e hoard.Ended) {
	what := fmt.Sprintf("has %d locks on files, so a process was killed", e.Locks)
	if e.Killed > 1 {
		what = fmt.Sprintf("has %d locks on files, so %d processes were killed", e.Locks, e.Killed)
	}
	w.say("%s %s", e.Guest, what)
	w.tell(guest.Event{Guest: e.Guest, Kind: guest.EventLimit, Text: what, Limit: "locks", Hits: 1, Killed: e.Killed})
	if c := w.consoles.Has(e.Guest); c != nil {
		c.Remark("the guest %s", what)
	}
}
