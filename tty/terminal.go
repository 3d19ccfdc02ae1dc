package tty

import (
	"fmt"
	"sync"

	"golang.org/x/term"
)

// terminal is the user's terminal, if it is one.
type terminal struct {
	fd int
	is bool

	mu    sync.Mutex
	saved *term.State // nil when it is as the user left it
	over  bool        // restored for good
}

func newTerminal(fd int) *terminal { return &terminal{fd: fd, is: term.IsTerminal(fd)} }

// raw puts it into raw mode. The state that is saved is that of the first call.
func (t *terminal) raw() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.is || t.over {
		return nil
	}
	was, err := term.MakeRaw(t.fd)
	if err != nil {
		return fmt.Errorf("terminal: raw mode: %w", err)
	}
	if t.saved == nil {
		t.saved = was
	}
	return nil
}

// restore gives it back. Any goroutine may call it, and more than once.
func (t *terminal) restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.saved != nil {
		term.Restore(t.fd, t.saved)
		t.saved = nil
	}
}
