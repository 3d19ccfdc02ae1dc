package guest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Event is something that happened to a guest, as vserverd saw it.
type Event struct {
	Time   time.Time `json:"time"`
	Guest  Name      `json:"guest,omitempty"` // "" of a gap
	Kind   EventKind `json:"event"`
	Text   string    `json:"text"`             // what it is, to follow the guest's name
	Exit   *Exit     `json:"exit,omitempty"`   // of an end
	Start  time.Time `json:"start,omitzero"`   // of a restart: when it is due
	Killed int       `json:"killed,omitempty"` // processes
	Limit  string    `json:"limit,omitempty"`  // of a limit: the name of its Pool
	Hits   uint64    `json:"hits,omitempty"`   // of a limit: how often it was hit since the last such event
}

// EventKind is what kind of thing happened.
type EventKind string

// The kinds of events.
const (
	EventStarted EventKind = "started"
	EventFound   EventKind = "found"   // a guest that runs, by a vserverd that was not told of its start
	EventEnded   EventKind = "ended"   // whoever ended it
	EventRestart EventKind = "restart" // vserverd will start it again
	EventFailed  EventKind = "failed"  // such a start did not work
	EventOOM     EventKind = "oom"     // the kernel killed in it for want of memory
	EventLimit   EventKind = "limit"   // it ran against a limit
	EventGap     EventKind = "gap"     // events before this one may be missing
)

// EventKinds gives all kinds.
func EventKinds() []EventKind {
	return []EventKind{EventStarted, EventFound, EventEnded, EventRestart, EventFailed, EventOOM, EventLimit, EventGap}
}

// Known gives an error for a kind that is none.
func (k EventKind) Known() error {
	kinds := EventKinds()
	if slices.Contains(kinds, k) {
		return nil
	}
	words := make([]string, len(kinds))
	for i, known := range kinds {
		words[i] = string(known)
	}
	return fmt.Errorf("event %q: want one of %s: %w", string(k), strings.Join(words, ", "), ErrInvalid)
}
