package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"vserver/bpf"
	"vserver/daemon/calls"
	"vserver/daemon/console"
	"vserver/daemon/loop"
	"vserver/daemon/proto"
	"vserver/daemon/sockets"
	"vserver/daemon/views"
	"vserver/guest"
	"vserver/host/hoard"
	"vserver/host/reclaim"
	"vserver/limit/count"
	"vserver/quota"
)

// acts are what vserverd has done to the machine; see host.go. Ended and Start may
// take their time.
type acts struct {
	// Ended takes down what an ended guest left, and records how it ended. The error
	// is guest.ErrStopped or guest.ErrRunning when it is not to be started again.
	Ended func(guest.Name, guest.Exit) error
	// Start starts a guest in a process of its own; guest.ErrRunning and
	// guest.ErrNotFound keep their meaning.
	Start func(guest.Name) error
	// Notes has the kernel note how guests end.
	Notes func() (*bpf.Notes, error)
	// Planned notes when a guest that ended will be started again; fs.ErrNotExist when a
	// stop has said no to it. Dropped takes the note away. Nil is nothing.
	Planned func(guest.Name, time.Time) error
	Dropped func(guest.Name) error
	// OOM counts for each guest the processes that the kernel killed for want of memory.
	OOM func(...guest.Name) []int
	// Limits gives what each guest has of what is limited; nil is nothing.
	Limits func() (map[guest.Name][]guest.Pool, error)
	// Reclaim takes back memory that idle guests do not use; nil is nothing.
	Reclaim func([]guest.Name) error
	// Hoard kills in guests what takes more locks on files than a guest may have; nil is nothing.
	Hoard func([]guest.Name) (list []hoard.Ended, all bool, err error)
	// Warm begins a process that is warm for starts and stops, and gives the wait for its end,
	// which tells whether that was a good one. Nil is nothing.
	Warm func() (wait func() bool, err error)
	// Running gives the guests that run, by what the kernel says, leaving out those
	// that are known.
	Running func(known func(guest.Name) bool) []proto.Start
	// Reopen gives a new read end of the log pipe of a guest, -1 when it has none.
	Reopen func(proto.Start) int
	// Attend looks after the network of a guest until leave is called, and calls moved when its addresses
	// are others.
	Attend func(s proto.Start, say func(format string, args ...any), moved func()) (leave func())
	// Steer serves the sockets of guests in the host's network until ctx ends; it returns
	// at once when there are no such guests. Nil is nothing.
	Steer func(ctx context.Context) error
	// Mend has what guests have in the packet filter stay there, likewise.
	Mend func(ctx context.Context, say func(format string, args ...any)) error
	// Named tells all guests the names of those that run; nil is nothing.
	Named func() error
	// Prune removes what stands for all guests, if there is none; nil is nothing.
	Prune func() error
	// Makes tells whether a guest may make nodes of a device.
	Makes func(n guest.Name, block bool, major, minor int) bool
	// Views gives the flags of the view with which a guest was started.
	Views func(guest.Name) guest.ViewFlags
	// Area opens the own files of a guest, whose ids begin at base.
	Area func(guest.Name) (a *quota.Area, base uint32, err error)
}

// store is who holds our files: a keeper process, or systemd.
type store interface {
	Put(name string, fd int) error
	Drop(name string) error
	Ready() error
	Stop()
	Socket() int
	Answer() (stop bool, err error)
}

// worker is the process that does the work. All its fields belong to the loop.
type worker struct {
	dirs  guest.Dirs
	acts  acts
	say   func(format string, args ...any)
	store store
	ours  bool // the socket's file may be removed, and made again
	stay  bool // does not end without guests

	loop     *loop.Loop
	listener int
	listen   *loop.Source
	storeSrc *loop.Source
	consoles console.Set
	sockets  sockets.Set
	views    views.Set
	calls    calls.Set
	notes    *bpf.Notes // nil while it is not, or cannot be, attached
	noting   bool       // it is about to be
	noteless []func()   // what waits for that
	refused  int        // the counts of ceilings that were reached; negative while there are none
	buf      []byte     // for a client's message

	guests    map[guest.Name]*watched
	due       map[guest.Name]*due
	fails     map[guest.Name]int
	clients   map[*client]bool
	counting  bool // hits are counted, for those who are told of events
	jobs      int
	waiting   []func() // jobs beyond maxJobs
	rested    time.Time
	next      *loop.Timer // of tick
	warm      bool        // a warm process is there, or on its way
	naming    bool        // guests are about to be told names
	unclaimed string      // what was said last of reclaim
	steered   func()      // ends what acts.Steer does; nil while nobody does it
	mended    func()      // the same of acts.Mend
	over      bool        // the loop shall end
	renew     bool        // this process shall end, another comes
}

// The names of files of our own in the store.
const (
	keptListener = "listen"
	keptSpill    = "spill"
	keptNotes    = "ends map"
	keptAttached = "ends program"
)

func newWorker(dirs guest.Dirs, a acts, say func(string, ...any), s store) *worker {
	return &worker{dirs: dirs, acts: a, say: say, store: s, listener: -1, refused: -1,
		buf:    make([]byte, proto.MaxMessage),
		guests: map[guest.Name]*watched{}, due: map[guest.Name]*due{},
		fails: map[guest.Name]int{}, clients: map[*client]bool{}}
}

// run works until vserverd shall end (true) or only this process (false). files is
// what the store held.
func (w *worker) run(files map[string]int) (end bool, err error) {
	if w.loop, err = loop.New(); err != nil {
		return false, err
	}
	if err = w.open(files); err != nil {
		return false, err
	}
	w.watchStore()
	w.inherit(files)
	w.sockets.Inherit(files)
	w.views.Inherit(files)
	w.calls.Inherit(files)
	w.loop.After(adoptPause, w.adopt)
	w.loop.After(oomPause, w.watchOOM)
	if w.acts.Reclaim != nil {
		w.loop.After(reclaim.Pause, w.reclaim)
	}
	if w.acts.Hoard != nil {
		w.loop.After(hoard.Pause, w.hoard)
	}
	if w.notes == nil {
		w.noting = true
		w.job(w.attachNotes)
	}
	if w.refused < 0 {
		w.loop.After(refusedPause, func() { w.job(w.countRefused) })
	}
	if _, kept := files[keptModules]; !kept {
		w.loop.After(refusedPause, func() { w.job(w.keepModules) })
	}
	if w.listen, err = w.loop.Add(w.listener, loop.Readable, w.accept); err != nil {
		return false, err
	}
	if err := w.store.Ready(); err != nil {
		w.say("%v", err)
	}
	w.rested = time.Now()
	w.tick()
	for !w.over && !w.renew {
		if err := w.loop.Turn(); err != nil {
			return false, err
		}
	}
	if w.over && w.refused >= 0 {
		if err := count.Silence(w.dirs); err != nil {
			w.say("%v", err)
		}
	}
	if w.over && w.acts.Prune != nil {
		if err := w.acts.Prune(); err != nil {
			w.say("%v", err)
		}
	}
	return w.over, nil
}

// open takes the worker's own files from the store, or makes them.
func (w *worker) open(files map[string]int) error {
	for name, fd := range files {
		// systemd names sockets after their unit, unless that says otherwise.
		if name == keptListener || strings.HasSuffix(name, ".socket") {
			w.listener = fd
		}
	}
	if w.listener < 0 {
		return fmt.Errorf("vserverd: no socket was handed in: %w", syscall.EBADF)
	}
	if err := syscall.SetNonblock(w.listener, true); err != nil {
		return err
	}
	spill, err := w.openSpill(files)
	if err != nil {
		return err
	}
	w.sockets = sockets.Set{Dirs: w.dirs, Loop: w.loop, Say: w.say, Keep: w.keep, Unkeep: w.unkeep, Job: w.job}
	w.calls = calls.Set{Loop: w.loop, Say: w.say, Keep: w.keep, Unkeep: w.unkeep, Makes: w.acts.Makes, Views: w.acts.Views, Size: w.views.Size, Area: w.acts.Area}
	w.views = views.Set{Dirs: w.dirs, Loop: w.loop, Say: w.say, Keep: w.keep, Unkeep: w.unkeep, Grown: room}
	w.consoles = console.Set{Dirs: w.dirs, Loop: w.loop, Spill: spill, Say: w.say}
	a, ok1 := files[keptNotes]
	b, ok2 := files[keptAttached]
	if ok1 && ok2 {
		w.notes = &bpf.Notes{Map: a, Attached: b}
	}
	if fd, ok := files[keptRefused]; ok {
		w.refused = fd
	}
	return nil
}

// openSpill takes the memory of the worker before, and writes what that left in it.
func (w *worker) openSpill(files map[string]int) (*console.Spill, error) {
	if fd, ok := files[keptSpill]; ok {
		spill, err := console.OpenSpill(fd)
		if err == nil {
			if err := spill.Recover(w.dirs); err != nil {
				w.say("%v", err)
			}
			return spill, nil
		}
		w.say("%v", err)
	}
	spill, err := console.NewSpill(w.dirs.Run)
	if err != nil {
		return nil, err
	}
	return spill, w.keep(keptSpill, spill.FD())
}

// attachNotes has the kernel note how guests end. It is a job: the kernel's types are
// megabytes to read. Until then, some 20 ms, the pidfd tells, or an old kernel nothing.
func (w *worker) attachNotes() {
	n, err := w.acts.Notes()
	debug.FreeOSMemory()
	w.loop.Post(func() {
		defer w.noted()
		if err != nil {
			w.say("reboots from inside cannot be told from other ends: %v", err)
			return
		}
		w.notes = n
		if err := errors.Join(w.keep(keptNotes, n.Map), w.keep(keptAttached, n.Attached)); err != nil {
			w.say("%v", err)
		}
		for _, g := range w.guests {
			n.Watch(g.InitPID)
		}
	})
}

// notedPatience is how long who has started a guest waits for notes.
const notedPatience = time.Second

// whenNoted does what should come after the notes are there, if they come soon. Who has
// started a guest and goes away leaves a dead init to the host's, which takes it at once:
// nobody knew then whether a guest that lived that short rebooted.
func (w *worker) whenNoted(do func()) {
	if !w.noting {
		do()
		return
	}
	if len(w.noteless) == 0 {
		w.loop.After(notedPatience, w.noted)
	}
	w.noteless = append(w.noteless, do)
}

// noted does what waited for the notes.
func (w *worker) noted() {
	w.noting = false
	waited := w.noteless
	w.noteless = nil
	for _, do := range waited {
		do()
	}
}

// keep has the store hold a file.
func (w *worker) keep(name string, fd int) error {
	err := w.store.Put(name, fd)
	w.watchStore()
	return err
}

// unkeep has the store let go of a file.
func (w *worker) unkeep(name string) {
	if err := w.store.Drop(name); err != nil {
		w.say("%v", err)
	}
	w.watchStore()
}

// watchStore listens to the store, which may be another keeper than before.
func (w *worker) watchStore() {
	fd := w.store.Socket()
	if fd < 0 || w.storeSrc != nil && w.storeSrc.FD == fd {
		return
	}
	w.loop.Drop(w.storeSrc)
	var err error
	if w.storeSrc, err = w.loop.Add(fd, loop.Readable, w.heed); err != nil {
		w.say("keeper: %v", err)
	}
}

// heed does what the store says.
func (w *worker) heed(uint32) {
	stop, err := w.store.Answer()
	if stop {
		w.quit()
		return
	}
	if err != nil {
		w.say("%v", err)
		w.loop.Drop(w.storeSrc)
		src := w.storeSrc
		w.loop.After(time.Second, func() {
			if w.storeSrc == src {
				w.storeSrc = nil
				w.watchStore()
			}
		})
		return
	}
	w.watchStore()
}

// maxJobs is how many jobs run at once.
const maxJobs = 8

// job runs do beside the loop; it may only post to it.
func (w *worker) job(do func()) {
	if w.jobs >= maxJobs {
		w.waiting = append(w.waiting, do)
		return
	}
	w.jobs++
	go func() {
		do()
		w.loop.Post(func() {
			w.jobs--
			if len(w.waiting) > 0 {
				next := w.waiting[0]
				w.waiting = w.waiting[1:]
				w.job(next)
			}
			w.rest()
		})
	}()
}

// name has the guests told each other's names, soon: many that start are one round.
func (w *worker) name() {
	if w.naming || w.acts.Named == nil {
		return
	}
	w.naming = true
	w.loop.After(500*time.Millisecond, func() {
		w.naming = false
		w.job(func() {
			if err := w.acts.Named(); err != nil {
				w.loop.Post(func() { w.say("%v", err) })
			}
		})
	})
}
