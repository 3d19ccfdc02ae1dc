// Package reclaim takes back memory that idle guests do not use (limits.memory_idle): cache
// and pages of programs that nobody has touched for long, which the kernel leaves where
// they are until somebody is short of memory.
//
// A guest is idle while it takes less than a hundredth of a processor. After the time that
// its spec says, a hundredth of its memory is asked back (memory.reclaim, Linux 5.19) in
// each round, the least used first, which the kernel does in the caller's time. What was
// taken and then wanted shows as pressure (PSI: its processes waited for memory): then the
// guest is left alone for a while, and for longer each time. What limits.memory_reserved
// and memory_low keep for it is never asked for. Nothing is asked of a busy guest, and of
// none on a host without the controller memory of cgroup v2.
package reclaim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
)

// Pause is the time between two rounds.
const Pause = 10 * time.Second

const (
	busy     = Pause / 100        // processor time in a round
	stalled  = Pause / 1000       // time that it waited for memory in a round
	part     = 100                // of its memory, in a round
	least    = guest.Bytes(1e6)   // in a round
	most     = guest.Bytes(256e6) // in a round: what a kernel does in a moment
	floor    = guest.Bytes(4e6)   // left to each guest
	patience = time.Minute        // after the first wait; doubled each time
	limit    = time.Hour
)

// sample is what the kernel counts for a guest.
type sample struct {
	used, waited time.Duration // ever
	memory       guest.Bytes   // now
}

// course is what is known of a guest from round to round.
type course struct {
	last  sample
	since time.Time     // idle since; zero when nothing was seen yet
	until time.Time     // left alone until then
	pause time.Duration // the last such time
	taken guest.Bytes
}

// next takes what a round sees, and gives how much to ask back, 0 for nothing.
func (c *course) next(now time.Time, s sample, idle time.Duration, keep guest.Bytes) guest.Bytes {
	was := c.last
	c.last = s
	switch {
	case c.since.IsZero() || s.used-was.used > busy || s.used < was.used:
		c.since, c.pause = now, 0
		return 0
	case s.waited-was.waited > stalled:
		c.pause = min(max(2*c.pause, patience), limit)
		c.until = now.Add(c.pause)
		return 0
	case now.Sub(c.since) < idle || now.Before(c.until):
		return 0
	}
	return max(0, min(max(s.memory/part, least), most, s.memory-max(keep, floor)))
}

// Rounds are the rounds of all guests, for one caller at a time.
type Rounds struct {
	dirs   guest.Dirs
	guests map[guest.Name]*watched
}

type watched struct {
	course
	changed time.Time // of the spec
	idle    time.Duration
	keep    guest.Bytes
}

// New begins.
func New(d guest.Dirs) *Rounds {
	return &Rounds{dirs: d, guests: map[guest.Name]*watched{}}
}

// Round looks at these guests, and forgets all others.
func (r *Rounds) Round(names []guest.Name, now time.Time) error {
	var errs []error
	next := make(map[guest.Name]*watched, len(names))
	for _, n := range names {
		w := r.guests[n]
		if w == nil {
			w = &watched{course: course{taken: Taken(r.dirs, n)}}
		}
		next[n] = w
		if r.wish(n, w); w.idle == 0 {
			continue
		}
		if err := r.one(n, w, now); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: take back memory: %w", n, err))
		}
	}
	r.guests = next
	return errors.Join(errs...)
}

// wish reads the spec when that has changed. One that cannot be read leaves all as it is.
func (r *Rounds) wish(n guest.Name, w *watched) {
	info, err := os.Stat(r.dirs.Spec(n))
	if err != nil || info.ModTime().Equal(w.changed) {
		return
	}
	spec, err := state.Load(r.dirs, n)
	if err != nil {
		return
	}
	l := &spec.Limits
	w.changed, w.idle, w.keep = info.ModTime(), time.Duration(l.MemoryIdle), max(l.MemoryReserved, l.MemoryLow)
}

func (r *Rounds) one(n guest.Name, w *watched, now time.Time) error {
	cg, err := cgroup.Find()
	if err != nil {
		return err
	}
	g, err := cg.Open(r.dirs.Group(n))
	if err != nil {
		return err
	}
	defer g.Close()
	s, err := look(g)
	if err != nil {
		return err
	}
	want := w.next(now, s, w.idle, w.keep)
	if want == 0 {
		return nil
	}
	// EAGAIN: it had less to give.
	if err := g.Write("memory.reclaim", strconv.FormatInt(int64(want), 10)); err != nil && !errors.Is(err, syscall.EAGAIN) {
		return err
	}
	after, err := memory(g)
	if err != nil {
		return err
	}
	w.taken += max(0, s.memory-after)
	return os.WriteFile(note(r.dirs, n), []byte(strconv.FormatInt(int64(w.taken), 10)), 0o600)
}

// look asks the kernel.
func look(g *cgroup.Group) (s sample, err error) {
	if s.memory, err = memory(g); err != nil {
		return s, err
	}
	if s.used, err = micros(g, "cpu.stat", "usage_usec "); err != nil {
		return s, err
	}
	s.waited, err = micros(g, "memory.pressure", "total=")
	return s, err
}

func memory(g *cgroup.Group) (guest.Bytes, error) {
	text, err := g.Read("memory.current")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return guest.Bytes(n), err
}

// micros reads the number behind the first key of a file.
func micros(g *cgroup.Group, file, key string) (time.Duration, error) {
	text, err := g.Read(file)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(text, key)
	word, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(word, 10, 64)
	return time.Duration(n) * time.Microsecond, err
}

// note is the file by which status tells what was taken since vserverd saw the guest.
func note(d guest.Dirs, n guest.Name) string { return filepath.Join(d.State(n), "reclaimed") }

// Taken tells what was taken back of a guest that runs.
func Taken(d guest.Dirs, n guest.Name) guest.Bytes {
	text, err := os.ReadFile(note(d, n))
	if err != nil {
		return 0
	}
	bytes, _ := strconv.ParseInt(string(text), 10, 64)
	return guest.Bytes(bytes)
}

// Forget is for the end of a guest.
func Forget(d guest.Dirs, n guest.Name) error { return file.Forget(note(d, n)) }
