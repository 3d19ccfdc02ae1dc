// Package fault is the error that a user reads: which guest, what was being
// done, why it did not work, and one way out.
//
// Each layer adds only the piece that it alone knows: kernel packages give the
// operation and its object, host adds guest and verb, cli adds the program's
// name and prints. Building one fault around another drops what is repeated.
package fault

import (
	"errors"
	"strings"
)

// Error is a failure on its way to the user.
type Error struct {
	Guest string // the guest concerned, "" for the host
	Op    string // the verb the user typed, or the step that failed
	Err   error  // the cause
	Hint  string // one way out, naming a command or file that exists; may be ""
}

// New wraps err with the guest and the verb. A nil err gives nil; what err
// already says of guest and verb is not said twice.
func New(guest, op string, err error) error {
	if err == nil {
		return nil
	}
	if in, ok := only(err).(*Error); ok {
		out := *in
		if out.Guest == "" || out.Guest == guest {
			out.Guest = guest
			switch {
			case out.Op == "":
				out.Op = op
			case op != "" && out.Op != op && !strings.HasPrefix(out.Op, op+": "):
				out.Op = op + ": " + out.Op
			}
			return &out
		}
	}
	return &Error{Guest: guest, Op: op, Err: err}
}

// only gives what errors.Join was given as the only error, and any other as it is.
func only(err error) error {
	if j, ok := err.(interface{ Unwrap() []error }); ok && len(j.Unwrap()) == 1 {
		return only(j.Unwrap()[0])
	}
	return err
}

// Hint attaches a way out to err. The innermost hint wins, since it was written
// where the cause is known.
func Hint(err error, hint string) error {
	if err == nil || HintOf(err) != "" {
		return err
	}
	if in, ok := only(err).(*Error); ok {
		out := *in
		out.Hint = hint
		return &out
	}
	return &Error{Err: err, Hint: hint}
}

// HintOf returns the hint that err carries, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// Error gives "guest: op: cause", leaving out what is empty.
func (e *Error) Error() string {
	var parts []string
	for _, s := range []string{e.Guest, e.Op} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
