package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vserver/guest"
)

func (h *Host) lastPath(n guest.Name) string { return filepath.Join(h.Dirs.State(n), "last.json") }

// LastExit says how the guest ended last; nil when it never did since the host
// booted.
func (h *Host) LastExit(n guest.Name) (*guest.Exit, error) {
	text, err := os.ReadFile(h.lastPath(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out guest.Exit
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", h.lastPath(n), err)
	}
	return &out, nil
}

// lastEnd is LastExit, but for a guest that has ended by itself and of whose end nobody
// has taken note yet: that is guest.Unknown, without a time.
func (h *Host) lastEnd(n guest.Name, running bool) (*guest.Exit, error) {
	// In this order: who takes note records the end before the note of the run goes.
	was, noteErr := h.readNote(n)
	last, err := h.LastExit(n)
	if running || err != nil || noteErr != nil || was == nil || last != nil && last.Time.After(was.Started) {
		return last, err
	}
	return &guest.Exit{Reason: guest.Unknown}, nil
}

// recordExit leaves how a guest ended.
func (h *Host) recordExit(n guest.Name, exit guest.Exit) error {
	text, err := json.Marshal(exit)
	if err != nil {
		return err
	}
	path := h.lastPath(n)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
