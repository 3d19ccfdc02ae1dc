package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vserver/guest"
)

// Snapshot is what a guest was at some time.
type Snapshot struct {
	Name string `json:"name"`
	// ID is the same for the same state of files on all hosts: that of the layer on top.
	ID   string    `json:"id"`
	Made time.Time `json:"made"`
	// Running says that the guest ran: its files are what a power cut would have left.
	Running bool `json:"running"`
	// Kind, Lower and Shared are those of the guest's root then, images by their full names.
	Kind   guest.RootKind `json:"kind"`
	Lower  []string       `json:"lower"`
	Shared []string       `json:"shared,omitempty"`
	// Stack is the layers, topmost first, a line as in the guest's list each.
	Stack []string `json:"layers"`
	// Spec is the text of the guest's settings then.
	Spec string `json:"spec"`
}

// Layers are the layers of the snapshot, topmost first.
func (s Snapshot) Layers() ([]Layer, error) {
	out := make([]Layer, len(s.Stack))
	for i, line := range s.Stack {
		var err error
		if out[i], err = ParseLayer(line); err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", s.Name, err)
		}
	}
	return out, nil
}

// ErrNoSnapshot says that a guest has no such snapshot.
var ErrNoSnapshot = errors.New("no such snapshot")

// CheckName refuses what cannot be the name of a snapshot.
func CheckName(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-", r)
	}
	const longest = 63
	if name == "" || len(name) > longest || name[0] == '.' || name[0] == '-' || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) {
		return fmt.Errorf("snapshot %q: want letters, digits, '.', '_', '+' and '-': %w", name, guest.ErrInvalid)
	}
	return nil
}

// Snapshots gives those of the guest whose own files are at dir, the oldest first.
func Snapshots(dir string) ([]Snapshot, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []Snapshot
	for _, e := range entries {
		if CheckName(e.Name()) != nil {
			continue // one that was being written
		}
		s, err := Find(dir, e.Name())
		if errors.Is(err, ErrNoSnapshot) {
			continue // it was deleted meanwhile, with its guest maybe
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Snapshot) int { return a.Made.Compare(b.Made) })
	return out, err
}

// Find gives one of them, or ErrNoSnapshot.
func Find(dir, name string) (s Snapshot, err error) {
	if err := CheckName(name); err != nil {
		return s, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "snapshots", name))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("snapshot %s: %w", name, ErrNoSnapshot)
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("snapshot %s: %w", name, err)
	}
	s.Name = name
	return s, nil
}

// Add writes one. It is there whole or not.
func Add(dir string, s Snapshot) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	at := filepath.Join(dir, "snapshots")
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	temp := filepath.Join(at, ".new")
	if err := keep(temp, append(text, '\n')); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(at, s.Name))
}

// Carry gives the guest whose own files are being made at to the snapshots of the one at
// from, whose files nobody writes to.
func Carry(from, to string) error {
	list, err := Snapshots(from)
	if err != nil || len(list) == 0 {
		return err
	}
	if err := os.MkdirAll(filepath.Join(to, "snapshots"), 0o700); err != nil {
		return err
	}
	for _, s := range list {
		at := filepath.Join("snapshots", s.Name)
		err := os.Link(filepath.Join(from, at), filepath.Join(to, at)) //house:allow beside the guest's files, out of its reach
		if err != nil {                                                // of another project, say
			err = Add(to, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Drop removes one from the guest's directory; its layers stay until Sweep.
func Drop(dir, name string) error { return os.Remove(filepath.Join(dir, "snapshots", name)) }
