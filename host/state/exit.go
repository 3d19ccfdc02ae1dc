package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"vserver/guest"
	"vserver/kernel/file"
)

func lastPath(d guest.Dirs, n guest.Name) string { return filepath.Join(d.State(n), "last") }

// LastExit says how the guest ended last; nil when it never did since the host
// booted.
func LastExit(d guest.Dirs, n guest.Name) (*guest.Exit, error) {
	text, err := os.ReadFile(lastPath(d, n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out guest.Exit
	err = eachLine(string(text), func(key, value string) (err error) {
		switch key {
		case "reason":
			out.Reason = guest.Reason(value)
		case "code":
			out.Code, err = strconv.Atoi(value)
		case "signal":
			out.Signal = value
		case "oom":
			out.OOM, err = strconv.ParseBool(value)
		case "time":
			out.Time, err = parseTime(value)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", lastPath(d, n), err)
	}
	return &out, nil
}

// exitText is what LastExit reads.
func exitText(exit guest.Exit) []byte {
	b := putLine(nil, "reason", string(exit.Reason))
	b = putLine(b, "code", strconv.Itoa(exit.Code))
	b = putLine(b, "signal", exit.Signal)
	b = putLine(b, "oom", strconv.FormatBool(exit.OOM))
	return putLine(b, "time", timeText(exit.Time))
}

// LastEnd is LastExit, but for a guest that has ended by itself and of whose end nobody
// has taken note yet: that is guest.Unknown, without a time.
func LastEnd(d guest.Dirs, n guest.Name, running bool) (*guest.Exit, error) {
	// In this order: who takes note records the end before the note of the run goes.
	was, noteErr := ReadNote(d, n)
	last, err := LastExit(d, n)
	if running || err != nil || noteErr != nil || was == nil || last != nil && last.Time.After(was.Started) {
		return last, err
	}
	return &guest.Exit{Reason: guest.Unknown}, nil
}

// RecordExit leaves how a guest ended.
func RecordExit(d guest.Dirs, n guest.Name, exit guest.Exit) error {
	path := lastPath(d, n)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return file.Replace(path, exitText(exit), 0o600)
}
