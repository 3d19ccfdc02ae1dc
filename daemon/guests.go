package daemon

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vserver/daemon/loop"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/pidfd"
)

// watched is a guest whose init is waited for.
type watched struct {
	proto.Start
	pidfd int
	since time.Time // of its start, or of the first that we saw of it
	src   *loop.Source
	tries int    // how often its exit status was asked for in vain
	kills int    // for want of memory, or unknown
	hits  hits   // of its limits, as far as they were told; nil is unknown
	leave func() // ends what attends its network
}

// The names under which the keeper holds a guest's files:
//
//	guest NAME PID TYPE LOGSIZE RESTART SINCE   the pidfd
//	console NAME PID                            the master or pipe
//	again NAME PID TYPE LOGSIZE RESTART FAILS   the pidfd of a dead init, while a restart is due
const (
	keptGuest   = "guest "
	keptConsole = "console "
	keptAgain   = "again "
)

func (g *watched) kept() string {
	return keptGuest + string(g.Append(nil)) + " " + strconv.FormatInt(g.since.Unix(), 10)
}

func (g *watched) keptConsole() string {
	return fmt.Sprintf("%s%s %d", keptConsole, g.Name, g.InitPID)
}

// started takes a guest that was just started. The files are ours from now on.
func (w *worker) started(s proto.Start, files []int) error {
	if len(files) == 0 || len(files) > 2 {
		closeAll(files)
		return fmt.Errorf("%s: start: %d files: %w", s.Name, len(files), guest.ErrInvalid)
	}
	con := -1
	if len(files) == 2 {
		con = files[1]
	}
	if g := w.guests[s.Name]; g != nil && g.InitPID == s.InitPID {
		syscall.Close(files[0]) // told twice, or found by ourselves before
		return w.complete(g, s, con)
	}
	g := &watched{Start: s, pidfd: files[0], since: time.Now(), hits: hits{}}
	w.tell(guest.Event{Guest: s.Name, Kind: guest.EventStarted, Text: "was started"})
	return w.watch(g, con, true)
}

// complete adds what a message says of a guest that is watched already.
func (w *worker) complete(g *watched, s proto.Start, con int) error {
	if w.consoles.Get(g.Name).IsOpen() || con < 0 {
		closeAll([]int{con})
		return nil
	}
	w.unkeep(g.kept())
	g.Start = s
	if err := errors.Join(w.keep(g.kept(), g.pidfd), w.keep(g.keptConsole(), con)); err != nil {
		w.say("%s: %v", g.Name, err)
	}
	return w.consoles.Get(g.Name).Open(g.Start, con)
}

// watch waits for the end of a guest and reads its console. fresh is false for what
// the keeper holds already.
func (w *worker) watch(g *watched, con int, fresh bool) error {
	g.leave = w.acts.Attend(g.Start, w.say, func() { w.loop.Post(w.name) })
	w.name()
	w.serve()
	if old := w.guests[g.Name]; old != nil {
		w.forget(old) // its end was not seen, and is of no interest any more
	}
	w.guests[g.Name] = g
	if d := w.due[g.Name]; d == nil || !d.going {
		delete(w.fails, g.Name) // somebody else started it
	}
	w.forgetAgain(g.Name)
	if fresh {
		if err := w.keep(g.kept(), g.pidfd); err != nil {
			w.say("%s: %v", g.Name, err)
		}
		if con >= 0 {
			if err := w.keep(g.keptConsole(), con); err != nil {
				w.say("%s: %v", g.Name, err)
			}
		}
	}
	if w.notes != nil {
		if fresh {
			w.notes.Forget(g.InitPID) // of another, long ago
		}
		w.notes.Watch(g.InitPID)
	}
	src, err := w.loop.Add(g.pidfd, loop.Readable, func(uint32) { w.ended(g) })
	if err != nil {
		w.forget(g)
		return fmt.Errorf("%s: %w", g.Name, err)
	}
	g.src = src
	return w.consoles.Get(g.Name).Open(g.Start, con)
}

// forget drops a guest without calling it ended.
func (w *worker) forget(g *watched) {
	w.loop.Drop(g.src)
	g.leave()
	if w.guests[g.Name] == g {
		delete(w.guests, g.Name)
	}
	for _, stop := range []func(){w.steered, w.mended} {
		if len(w.guests) == 0 && stop != nil {
			stop()
		}
	}
	if w.notes != nil {
		w.notes.Forget(g.InitPID)
	}
	w.sweepRefused()
	w.unkeep(g.kept())
	w.unkeep(g.keptConsole())
	syscall.Close(g.pidfd)
}

// serve has what all guests need somebody for done, each thing unless somebody does it yet.
func (w *worker) serve() {
	w.during(&w.steered, again, w.acts.Steer)
	if w.acts.Mend != nil {
		w.during(&w.mended, again, func(ctx context.Context) error { return w.acts.Mend(ctx, w.say) })
	}
}

// What failed for guests is tried again after some time, twice as long each time.
const (
	again     = time.Second
	againMost = time.Minute
)

// during does something that ends by itself or when there are no guests, and then again
// when there are some; after pause when it failed. stop ends it; it is nil while nobody
// does it.
func (w *worker) during(stop *func(), pause time.Duration, do func(context.Context) error) {
	if *stop != nil || do == nil {
		return
	}
	ctx, end := context.WithCancel(context.Background())
	*stop = end
	go func() {
		err := do(ctx)
		w.loop.Post(func() {
			idle := ctx.Err() != nil // the last guest was gone
			end()
			*stop = nil
			next := again
			if err != nil {
				w.say("%v", err)
				next = min(2*pause, againMost)
			}
			repeat := func() {
				if len(w.guests) > 0 {
					w.during(stop, next, do)
				}
			}
			switch {
			case err != nil:
				w.loop.After(pause, repeat)
			case idle:
				repeat()
			}
		})
	}()
}

// inherit takes up what the keeper held over the death of the worker before.
func (w *worker) inherit(files map[string]int) {
	for name, fd := range files {
		rest, isGuest := strings.CutPrefix(name, keptGuest)
		if again, ok := strings.CutPrefix(name, keptAgain); ok {
			w.inheritAgain(again, fd)
		}
		if !isGuest {
			continue
		}
		words, since, _ := cutLast(rest)
		s, err := proto.ParseStart([]byte(words))
		if err != nil {
			w.say("kept file %q: %v", name, err)
			w.unkeep(name)
			syscall.Close(fd)
			continue
		}
		unix, _ := strconv.ParseInt(since, 10, 64)
		g := &watched{Start: s, pidfd: fd, since: time.Unix(unix, 0), kills: unknown}
		con, ok := files[g.keptConsole()]
		if !ok {
			con = -1
		}
		delete(files, g.keptConsole())
		if err := w.watch(g, con, false); err != nil {
			w.say("%v", err)
		}
	}
	for name, fd := range files {
		if strings.HasPrefix(name, keptConsole) { // of nobody
			w.unkeep(name)
			syscall.Close(fd)
		}
	}
}

// adoptPause lets those who wait for us speak first: a guest that is just being started
// is told of with its console.
const adoptPause = 100 * time.Millisecond

// adopt finds the guests that run and that nobody told us of: after the death of
// worker and keeper, or of a vserver start at a bad moment.
func (w *worker) adopt() {
	known := func(n guest.Name) bool { return w.guests[n] != nil }
	for _, s := range w.acts.Running(known) {
		fd, err := pidfd.Open(s.InitPID)
		if err != nil {
			continue // it ended just now
		}
		g := &watched{Start: s, pidfd: fd, since: time.Now(), kills: unknown}
		w.tell(guest.Event{Guest: s.Name, Kind: guest.EventFound, Text: "runs"})
		if err := w.watch(g, w.acts.Reopen(s), true); err != nil {
			w.say("%v", err)
		}
	}
	// The keeper of a worker that died with its own may know the one and not the other.
	for name := range w.guests {
		w.sockets.Adopt(name)
	}
}

// cutLast cuts the last word off.
func cutLast(s string) (before, last string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

func closeAll(files []int) {
	for _, fd := range files {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
}
