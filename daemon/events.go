package daemon

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"vserver/guest"
	"vserver/kernel/seqpacket"
)

// tell tells those who want to know what happened to a guest. Who does not take what he was
// told is sent away: he sees that, and nobody waits for him.
func (w *worker) tell(e guest.Event) {
	var msg []byte
	for cl := range w.clients {
		if !cl.told {
			continue
		}
		if msg == nil {
			e.Time = time.Now()
			msg, _ = json.Marshal(e) // of words and numbers
		}
		if err := seqpacket.Send(cl.fd, msg); err != nil {
			cl.close()
		}
	}
}

// tell has the client told of events from now on.
func (cl *client) tell() {
	cl.told = true
	if cl.w.counting || cl.w.acts.Limits == nil {
		return
	}
	for _, g := range cl.w.guests {
		g.hits = nil
	}
	cl.w.counting = true
	cl.w.countHits()
}

// hitsPause is how often hits of limits are counted while somebody is told of them: a
// guest may run against one ten thousand times a second.
const hitsPause = 2 * time.Second

// hits are the hits of limits by their names.
type hits map[string]uint64

// countHits tells of the hits since it last looked, as long as somebody wants to know.
func (w *worker) countHits() {
	w.counting = false
	for cl := range w.clients {
		w.counting = w.counting || cl.told
	}
	if !w.counting {
		return
	}
	asked := maps.Clone(w.guests)
	go func() {
		limits, err := w.acts.Limits()
		w.loop.Post(func() {
			if err != nil {
				w.say("%v", err)
			}
			for name, g := range asked {
				if w.guests[name] == g { // and no other start of it
					w.tellHits(g, limits[name])
				}
			}
			w.loop.After(hitsPause, w.countHits)
		})
	}()
}

// tellHits tells of the hits of a guest that were not told yet. What was there before anybody
// looked is not told; nor are those of the processor's limit, which is a rate: to wait for the
// next period is all that comes of it.
func (w *worker) tellHits(g *watched, list []guest.Pool) {
	was := g.hits
	if len(list) > 0 {
		g.hits = hits{}
	}
	for _, p := range list {
		if p.Hits == nil || p.Name == "cpu" {
			continue
		}
		g.hits[p.Name] = *p.Hits
		if was == nil || *p.Hits <= was[p.Name] {
			continue
		}
		e := guest.Event{Guest: g.Name, Kind: guest.EventLimit, Limit: p.Name, Hits: *p.Hits - was[p.Name]}
		e.Text = "hit its limit of " + p.Name
		if e.Hits > 1 {
			e.Text += fmt.Sprintf(" %d times", e.Hits)
		}
		w.tell(e)
	}
}
