package inside

import (
	"os"
	"os/signal"
	"syscall"

	"vserver/kernel/pidfd"
	"vserver/kernel/relay"
	"vserver/spawn/ready"
)

// signals are taken from before the command is made, so that none which it could get
// ends us alone.
type signals struct {
	relay *relay.Relay
	// Of a command with a terminal: package tty needs some of them as well, and only
	// os/signal tells a signal to several.
	heard chan os.Signal
	over  chan struct{}
}

// take begins to take them, if the command is to have them.
func take(c Command) (*signals, error) {
	s := &signals{}
	passed := ready.Passed()
	switch {
	case !c.Signals:
	case c.TTY:
		s.heard, s.over = make(chan os.Signal, len(passed)), make(chan struct{})
		for _, sig := range passed {
			signal.Notify(s.heard, sig)
		}
	default:
		var err error
		if s.relay, err = relay.Begin(passed[:]...); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// to passes what came and what comes on to the process of a pidfd.
func (s *signals) to(fd int) {
	if s.relay != nil {
		s.relay.To(fd)
	}
	if s.heard == nil {
		return
	}
	go func(heard chan os.Signal, over chan struct{}) {
		for {
			select {
			case sig := <-heard:
				pidfd.Signal(fd, sig.(syscall.Signal))
			case <-over:
				return
			}
		}
	}(s.heard, s.over)
}

// end has them do again what they did before, before the pidfd is closed. It may be
// called again.
func (s *signals) end() {
	if s.relay != nil {
		s.relay.End()
	}
	if s.heard != nil {
		signal.Stop(s.heard)
		close(s.over)
	}
	*s = signals{}
}
