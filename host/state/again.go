package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
)

// againPath is the file that stands while vserverd may start a guest again that ended by
// itself: empty until it is known when. Who removes it under the guest's lock keeps that
// from happening.
func againPath(d guest.Dirs, n guest.Name) string { return filepath.Join(d.State(n), "again") }

// AllowAgain lets vserverd start the guest again. The caller has the guest's lock.
func AllowAgain(d guest.Dirs, n guest.Name) error {
	return os.WriteFile(againPath(d, n), nil, 0o600)
}

// PlanAgain notes when that will be. The error is fs.ErrNotExist when it is not allowed any
// more.
func PlanAgain(d guest.Dirs, n guest.Name, at time.Time) error {
	f, err := os.OpenFile(againPath(d, n), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(timeText(at) + "\n")
	return errors.Join(err, f.Close())
}

// Again tells whether vserverd may start the guest again, and when it will; the zero time
// when it has not made up its mind.
func Again(d guest.Dirs, n guest.Name) (at time.Time, may bool, err error) {
	text, err := os.ReadFile(againPath(d, n))
	if errors.Is(err, fs.ErrNotExist) {
		return at, false, nil
	}
	if err == nil && len(text) > 0 {
		at, err = parseTime(strings.TrimSuffix(string(text), "\n"))
	}
	return at, err == nil, err
}

// ForgetAgain keeps vserverd from starting the guest again.
func ForgetAgain(d guest.Dirs, n guest.Name) error { return file.Forget(againPath(d, n)) }
