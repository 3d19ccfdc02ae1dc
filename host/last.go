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
