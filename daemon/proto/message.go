// Package proto is how the other programs speak with vserverd: messages on a
// sequenced-packet unix socket that only root may use.
//
// A message is one line of words, the verb first; open files travel beside it. A
// request that wants an answer gets "ok ..." or "no KIND TEXT". After the ok of
// attach the connection carries the console's raw bytes, both ways.
//
//	start NAME PID TYPE LOGSIZE RESTART   files: pidfd [console]; answered when kept
//	serves NAME                           files: of a facade.Tree; not answered
//	calls NAME                            files: a listener, a pidfd of the init; not answered
//	views NAME PID                        file: the connection of its view; answered when kept
//	attach NAME LINES
//	resize NAME ROWS COLS                 not answered
//	ping
//	events                                what happens to guests, as JSON, behind the ok
//	list                                  a line for each guest, then ok
//	renew                                 another worker takes over, of the program's newest version
//	quit                                  ends vserverd, not the guests
package proto

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"vserver/guest"
)

// MaxMessage is the longest message, in bytes. Console output comes in pieces of at
// most this size.
const MaxMessage = 16 << 10

// Start tells vserverd of a guest that was started. It is also what vserverd's
// keeper remembers of the guest.
type Start struct {
	Name    guest.Name
	InitPID int // as the host counts
	Console guest.ConsoleType
	LogSize guest.Bytes
	Restart guest.Restart
}

// Append writes the words of s after its verb.
func (s Start) Append(b []byte) []byte {
	b = append(b, s.Name...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(s.InitPID), 10)
	b = append(b, ' ')
	b = append(b, s.Console...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(s.LogSize), 10)
	b = append(b, ' ')
	return append(b, s.Restart...)
}

// ParseStart reads what Append wrote.
func ParseStart(words []byte) (s Start, err error) {
	w := bytes.Fields(words)
	if len(w) != 5 {
		return s, fmt.Errorf("start: %d words: %w", len(w), guest.ErrInvalid)
	}
	if s.Name, err = guest.ParseName(string(w[0])); err != nil {
		return s, err
	}
	if s.InitPID, err = strconv.Atoi(string(w[1])); err != nil || s.InitPID < 1 {
		return s, fmt.Errorf("start: process %q: %w", w[1], guest.ErrInvalid)
	}
	size, err := strconv.ParseInt(string(w[3]), 10, 64)
	if err != nil || size < 0 {
		return s, fmt.Errorf("start: log size %q: %w", w[3], guest.ErrInvalid)
	}
	s.LogSize = guest.Bytes(size)
	switch s.Console = guest.ConsoleType(w[2]); s.Console {
	case guest.ConsoleTTY, guest.ConsoleLog, guest.ConsoleNone:
	default:
		return s, fmt.Errorf("start: console %q: %w", w[2], guest.ErrInvalid)
	}
	switch s.Restart = guest.Restart(w[4]); s.Restart {
	case guest.RestartNever, guest.RestartOnFailure, guest.RestartAlways:
	default:
		return s, fmt.Errorf("start: restart %q: %w", w[4], guest.ErrInvalid)
	}
	return s, nil
}

// The verbs of requests.
const (
	VerbStart  = "start"
	VerbServes = "serves"
	VerbCalls  = "calls"
	VerbViews  = "views"
	VerbAttach = "attach"
	VerbResize = "resize"
	VerbEvents = "events"
	VerbList   = "list"
	VerbPing   = "ping"
	VerbRenew  = "renew"
	VerbQuit   = "quit"
)

// Request is what a client asks.
type Request struct {
	Verb       string
	Start      Start // of start
	Name       guest.Name
	PID        int    // of views: the guest's init
	Lines      int    // of attach: how many lines of the log come first
	Rows, Cols uint16 // of resize
}

// ParseRequest reads a message.
func ParseRequest(msg []byte) (r Request, err error) {
	verb, rest, _ := bytes.Cut(msg, []byte(" "))
	r.Verb = string(verb)
	if r.Verb == VerbStart {
		r.Start, err = ParseStart(rest)
		r.Name = r.Start.Name
		return r, err
	}
	if r.Verb == VerbServes || r.Verb == VerbCalls {
		r.Name, err = guest.ParseName(string(rest))
		return r, err
	}
	w := bytes.Fields(rest)
	if r.Verb == VerbViews {
		return r, r.views(w)
	}
	numbers := map[string]int{VerbAttach: 1, VerbResize: 2, VerbEvents: 0, VerbList: 0, VerbPing: 0, VerbRenew: 0, VerbQuit: 0}
	want, known := numbers[r.Verb]
	named := want > 0
	switch {
	case !known:
		return r, fmt.Errorf("request %q: %w", verb, guest.ErrInvalid)
	case named && len(w) != want+1, !named && len(w) != 0:
		return r, fmt.Errorf("request %s: %d words: %w", verb, len(w), guest.ErrInvalid)
	case !named:
		return r, nil
	}
	if r.Name, err = guest.ParseName(string(w[0])); err != nil {
		return r, err
	}
	var n [2]uint16
	for i, word := range w[1:] {
		v, err := strconv.ParseUint(string(word), 10, 16)
		if err != nil {
			return r, fmt.Errorf("request %s: number %q: %w", verb, word, guest.ErrInvalid)
		}
		n[i] = uint16(v)
	}
	if r.Verb == VerbAttach {
		r.Lines = int(n[0])
	}
	r.Rows, r.Cols = n[0], n[1]
	return r, nil
}

// Files tells whether files may come with the request.
func (r Request) Files() bool {
	return r.Verb == VerbStart || r.Verb == VerbServes || r.Verb == VerbCalls || r.Verb == VerbViews
}

// views reads the words of views.
func (r *Request) views(w [][]byte) (err error) {
	if len(w) != 2 {
		return fmt.Errorf("request views: %d words: %w", len(w), guest.ErrInvalid)
	}
	if r.PID, err = strconv.Atoi(string(w[1])); err != nil || r.PID < 1 {
		return fmt.Errorf("request views: process %q: %w", w[1], guest.ErrInvalid)
	}
	r.Name, err = guest.ParseName(string(w[0]))
	return err
}

// ErrNoConsole says that a guest has no console that could be attached to.
var ErrNoConsole = errors.New("no console")

// kinds are the failures that keep their meaning on the way to the client.
func kinds() map[string]error {
	return map[string]error{
		"stopped": guest.ErrStopped, "invalid": guest.ErrInvalid, "busy": guest.ErrBusy,
		"unsupported": guest.ErrUnsupported, "unknown": guest.ErrNotFound, "console": ErrNoConsole,
	}
}

// Answer is the message that answers a request: "ok" for no error.
func Answer(err error) []byte {
	if err == nil {
		return []byte("ok")
	}
	kind := "failed"
	for k, sentinel := range kinds() {
		if errors.Is(err, sentinel) {
			kind = k
		}
	}
	text := err.Error()
	return append([]byte("no "+kind+" "), text[:min(len(text), MaxMessage-32)]...)
}

// ParseAnswer gives the error that an answer carries; its kind is one of guest's.
func ParseAnswer(msg []byte) error {
	if string(msg) == "ok" {
		return nil
	}
	rest, ok := bytes.CutPrefix(msg, []byte("no "))
	kind, text, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 {
		return fmt.Errorf("vserverd: answer %q: %w", msg, guest.ErrInvalid)
	}
	return answered{string(text), kinds()[string(kind)]}
}

// answered is an error that vserverd put into words.
type answered struct {
	text string
	kind error
}

func (a answered) Error() string { return a.text }
func (a answered) Unwrap() error { return a.kind }
