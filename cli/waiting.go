package cli

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

// waiting shows what the stops of several guests wait for, on a terminal: one line that
// changes. What is said meanwhile goes through it.
type waiting struct {
	t       *tool
	live    bool
	mu      sync.Mutex
	pending map[guest.Name]host.Waiting
	shown   bool
}

func (t *tool) newWaiting() *waiting {
	return &waiting{t: t, live: isScreen(t.err) && !t.json, pending: map[guest.Name]host.Waiting{}}
}

// options makes the stop of a guest tell of its waits.
func (w *waiting) options(n guest.Name, o host.StopOptions) host.StopOptions {
	o.Output = w
	if w.live {
		o.Waiting = func(now host.Waiting) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.pending[n] = now
			w.show()
		}
	}
	return o
}

// done is called when a guest has ended.
func (w *waiting) done(n guest.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, n)
	if len(w.pending) == 0 {
		w.clear()
	} else if w.shown {
		w.show()
	}
}

// Write passes on what is said of guests, in lines of its own.
func (w *waiting) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clear()
	return w.t.err.Write(text)
}

func (w *waiting) clear() {
	if w.shown {
		fmt.Fprint(w.t.err, "\r\x1b[K")
		w.shown = false
	}
}

func (w *waiting) show() {
	width, _, err := term.GetSize(int(w.t.err.Fd()))
	if err != nil || width < 20 {
		width = textWidth
	}
	line := waitingFor(w.pending)
	fmt.Fprintf(w.t.err, "\r\x1b[K%.*s", width-1, line)
	w.shown = true
}

// waitingFor puts into a line which guests have not ended yet, and why.
func waitingFor(all map[guest.Name]host.Waiting) string {
	var names []string
	var longest time.Duration
	for n, w := range all {
		names = append(names, string(n))
		longest = max(longest, w.Elapsed)
	}
	slices.Sort(names)
	const few = 3
	if len(names) > 1 {
		return fmt.Sprintf("%s still run, %s (Ctrl-C leaves them ending)", joined(names, few), span(longest))
	}
	w := all[guest.Name(names[0])]
	var comms []string
	for _, c := range w.Processes { // the guest chose these words
		comms = append(comms, fault.Plain(c))
	}
	return fmt.Sprintf("%s: waiting for %s, %s of %s (Ctrl-C leaves it ending)",
		names[0], joined(comms, few), span(w.Elapsed), span(w.Limit))
}

// joined joins words, at most some of them.
func joined(words []string, most int) string {
	if len(words) > most {
		return strings.Join(words[:most], ", ") + fmt.Sprintf(" and %d more", len(words)-most)
	}
	return strings.Join(words, ", ")
}
