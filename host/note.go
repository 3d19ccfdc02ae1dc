package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"vserver/guest"
)

// note is what a start leaves for later commands: what the kernel cannot be asked,
// or not cheaply. It is believed as long as its process is in the guest's group.
type note struct {
	PID      int       `json:"pid"`
	Began    uint64    `json:"began"` // of the process, in ticks since boot: tells it from a later one with its pid
	Started  time.Time `json:"started"`
	Stopping bool      `json:"stopping,omitempty"` // a stop was asked for: its end is no accident

	// What the guest was started with, whatever its spec says by now.
	XID     uint32                  `json:"xid"`
	Base    uint32                  `json:"base"`
	Userns  bool                    `json:"userns"`
	OwnNet  bool                    `json:"own_net"`
	OwnTime bool                    `json:"own_time"`
	Style   guest.InitStyle         `json:"style"`
	Env     map[string]string       `json:"env,omitempty"`
	Rights  guest.Rights            `json:"rights"`
	Rlimits map[string]guest.Rlimit `json:"rlimits,omitempty"`
}

func (h *Host) notePath(n guest.Name) string { return filepath.Join(h.Dirs.State(n), "running.json") }
func (h *Host) lastPath(n guest.Name) string { return filepath.Join(h.Dirs.State(n), "last.json") }

// readNote gives nil when there is no note.
func (h *Host) readNote(n guest.Name) (*note, error) {
	var out note
	if ok, err := readJSON(h.notePath(n), &out); !ok {
		return nil, err
	}
	return &out, nil
}

// LastExit says how the guest ended last; nil when it never did since the host
// booted.
func (h *Host) LastExit(n guest.Name) (*guest.Exit, error) {
	var out guest.Exit
	if ok, err := readJSON(h.lastPath(n), &out); !ok {
		return nil, err
	}
	return &out, nil
}

func readJSON(path string, to any) (bool, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

// writeJSON replaces a note whole. Notes are gone after a reboot, so nothing is
// synced.
func writeJSON(path string, from any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

func removeNote(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
