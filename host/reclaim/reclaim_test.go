package reclaim

import (
	"testing"
	"time"

	"vserver/guest"
)

const mega = guest.Bytes(1e6)

// A guest is asked when it has been idle long enough, for a little, and left alone when it
// waits for memory or works.
func TestNext(t *testing.T) {
	var c course
	now, s := time.Unix(1000, 0), sample{memory: 500 * mega}
	step := func(what string, used, waited time.Duration, want guest.Bytes) {
		t.Helper()
		now = now.Add(Pause)
		s.used, s.waited = s.used+used, s.waited+waited
		if got := c.next(now, s, 20*time.Second, 10*mega); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	step("first seen", time.Hour, time.Hour, 0)
	step("idle, not for long", 0, 0, 0)
	step("idle", busy, stalled, 5*mega)
	step("waits", 0, 2*stalled, 0)
	for range 5 {
		step("left alone", 0, 0, 0)
	}
	step("again", 0, 0, 5*mega)
	step("waits again", 0, 2*stalled, 0)
	for range 11 {
		step("left alone for longer", 0, 0, 0)
	}
	step("and again", 0, 0, 5*mega)
	step("works", time.Second, 0, 0)
	step("has just worked", 0, 0, 0)
	step("idle once more", 0, 0, 5*mega)
	s.memory = 50 * mega
	step("at least", 0, 0, mega)
	s.memory = 10*mega + 5
	step("down to what is its own", 0, 0, 5)
	s.memory = 9 * mega
	step("nothing of that", 0, 0, 0)
	s.memory = 1000000 * mega
	step("at most", 0, 0, most)
}
