package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
)

// Preset is the text of a file of util-vserver's for all guests, .defaults/KEY in the
// directory of the specs; "" when there is none.
func Preset(d guest.Dirs, key string) (string, error) {
	text, err := Read(presetFile(d, key))
	if errors.Is(err, guest.ErrNotFound) {
		return "", nil
	}
	return string(text), err
}

// PresetFiles are the names of those that Preset has for "files/NAME".
func PresetFiles(d guest.Dirs) (names []string, err error) {
	entries, err := os.ReadDir(presetFile(d, "files"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func presetFile(d guest.Dirs, key string) string { return filepath.Join(d.Config, ".defaults", key) }

// contextNext is the file with the number that the next new guest gets, from which util-vserver
// counted; it made one with 40000 where there was none.
const contextNext = "context.next"

// firstXID is the least number that is given to a new guest by itself.
func firstXID(d guest.Dirs) (guest.XID, error) {
	if dynamic, err := file.Exists(presetFile(d, "context.dynamic")); err != nil || dynamic {
		return guest.AutoXID, err
	}
	text, err := Preset(d, contextNext)
	if text = strings.TrimSpace(text); err != nil || text == "" {
		return guest.AutoXID, err
	}
	var first guest.XID
	if err := first.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("%s: %w", presetFile(d, contextNext), err)
	}
	return first, nil
}

// countXID notes that a number was given to a new guest by itself, if that is counted:
// first is what firstXID gave.
func countXID(d guest.Dirs, first, given guest.XID) error {
	if first == guest.AutoXID || given < first || given == guest.MaxXID {
		return nil
	}
	return replace(presetFile(d, contextNext), []byte(strconv.Itoa(int(given)+1)+"\n"), 0o644, false)
}
