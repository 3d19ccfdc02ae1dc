package daemon

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"vserver/bpf"
	"vserver/guest"
	"vserver/limit/count"
)

// refusedPause is how long after a beginning the kernel is made to count: whoever starts the
// first guest needs the processors himself.
const refusedPause = 200 * time.Millisecond

// The names in the store of the counts, and of what counts.
const (
	keptRefused  = "refused map"
	keptRefusing = "refused program "
	keptModules  = "modules program"
)

// level is how deep the control groups of guests are.
func (w *worker) level() int32 { return int32(strings.Count(filepath.Clean(w.dirs.Cgroup), "/")) + 2 }

// keepModules has the kernel load no modules of file systems for guests, unless it does. It is a
// job, as attachNotes is. Check says whether a kernel can.
func (w *worker) keepModules() {
	attached, err := bpf.KeepModules(w.dirs.Cgroup, w.level())
	debug.FreeOSMemory()
	if errors.Is(err, guest.ErrUnsupported) {
		return
	}
	w.loop.Post(func() {
		if err == nil {
			err = w.keep(keptModules, attached)
		}
		if err != nil {
			w.say("guests can have modules of file systems loaded: %v", err)
		}
	})
}

// countRefused has the kernel count how often guests run against their ceilings, unless it
// does. It is a job, as attachNotes is.
func (w *worker) countRefused() {
	counts, attached, names, err := bpf.CountRefusals(w.level())
	debug.FreeOSMemory()
	if errors.Is(err, guest.ErrUnsupported) {
		return // doc/isolation.md says of which kernels
	}
	if err == nil {
		err = count.Announce(w.dirs, counts, names)
	}
	w.loop.Post(func() {
		if err != nil {
			w.say("hits of ceilings are not counted: %v", err)
			return
		}
		w.refused = counts
		for i, fd := range attached {
			err = errors.Join(err, w.keep(fmt.Sprint(keptRefusing, i), fd))
		}
		// Last, so that whoever inherits it has all.
		if err = errors.Join(err, w.keep(keptRefused, counts)); err != nil {
			w.say("%v", err)
		}
	})
}

// sweepRefused forgets what was counted for groups that are gone.
func (w *worker) sweepRefused() {
	if w.refused < 0 {
		return
	}
	counts := w.refused
	w.job(func() {
		if err := count.Sweep(w.dirs, counts); err != nil {
			w.loop.Post(func() { w.say("%v", err) })
		}
	})
}
