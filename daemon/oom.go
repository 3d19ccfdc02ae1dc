package daemon

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"vserver/guest"
	"vserver/host/reclaim"
)

// oomPause is how long a kill for want of memory may go unnoticed. A guest that ends by
// one says so at once: see describe.
const oomPause = 2 * time.Second

// watchOOM says which guests the kernel killed processes of for want of memory: in our
// log, in the guest's, and to those who look at its console. Who of a worker's guests was
// hit before it came is not known, and not said twice.
func (w *worker) watchOOM() {
	names := make([]guest.Name, 0, len(w.guests))
	for n := range w.guests {
		names = append(names, n)
	}
	if len(names) == 0 {
		w.loop.After(oomPause, w.watchOOM)
		return
	}
	go func() {
		kills := w.acts.OOM(names...)
		w.loop.Post(func() {
			for i, n := range names {
				w.killed(n, kills[i])
			}
			w.loop.After(oomPause, w.watchOOM)
		})
	}()
}

// reclaim has memory taken back, and says once what was the matter with that.
func (w *worker) reclaim() {
	names := slices.Collect(maps.Keys(w.guests))
	if len(names) == 0 {
		w.loop.After(reclaim.Pause, w.reclaim)
		return
	}
	go func() {
		err := w.acts.Reclaim(names)
		w.loop.Post(func() {
			if err != nil && err.Error() != w.unclaimed {
				w.unclaimed = err.Error()
				w.say("%v", err)
			}
			w.loop.After(reclaim.Pause, w.reclaim)
		})
	}()
}

// killed takes a guest's count of kills.
func (w *worker) killed(n guest.Name, now int) {
	g := w.guests[n]
	if g == nil {
		return
	}
	if what := w.tellKills(g, now); what != "" {
		w.say("%s: %s", n, what)
		if c := w.consoles.Has(n); c != nil {
			c.Remark("%s: see limits.memory", what)
		}
	}
}

// tellKills tells of kills that were not told yet, and gives what it says; "" when there are
// none.
func (w *worker) tellKills(g *watched, now int) string {
	was := g.kills
	g.kills = now
	if now <= was || was == unknown {
		return ""
	}
	what := "the kernel killed a process for want of memory"
	if now-was > 1 {
		what = fmt.Sprintf("the kernel killed %d processes for want of memory", now-was)
	}
	w.tell(guest.Event{Guest: g.Name, Kind: guest.EventOOM, Text: "is out of memory: " + what, Killed: now - was})
	return what
}

// unknown is the count of kills of a guest that was there before us.
const unknown = -1
