package sysctl

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const header = `# Settings for a host of many guests, written by "vserver check --fix" and read at
# boot (sysctl.d(5)). Larger values may be written here; smaller ones come back.
`

// note adds the changes that were made to the file at path.
func note(path string, changes []Change) error {
	done := slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Err != nil })
	if len(done) == 0 {
		return nil
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temp := path + ".new" // not read at boot: its name does not end in .conf
	if err := os.WriteFile(temp, merged(old, done), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// merged gives the content of the file with the changes: what stands in it stays,
// unless it is less.
func merged(old []byte, changes []Change) []byte {
	values := lines(old)
	for _, c := range changes {
		if !enough(values[c.Name], c.To) {
			values[c.Name] = c.To
		}
	}
	var b bytes.Buffer
	b.WriteString(header)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&b, "%s = %s\n", name, values[name])
	}
	return b.Bytes()
}

// lines reads the settings of a file of sysctl.d(5).
func lines(text []byte) map[string]string {
	out := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		name = strings.ReplaceAll(strings.TrimSpace(name), "/", ".")
		if name != "" {
			out[name] = strings.TrimSpace(value)
		}
	}
	return out
}

// enough says whether a value is a number that is not less than want.
func enough(value, want string) bool {
	have, err := strconv.ParseInt(value, 10, 64)
	least, wantErr := strconv.ParseInt(want, 10, 64)
	return err == nil && wantErr == nil && have >= least
}
