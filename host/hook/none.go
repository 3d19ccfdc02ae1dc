package hook

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
)

// None tells a guest around whose start and end no program of the host's runs for sure: its spec
// does not even have the word, if there is one, and nothing is there for all guests, or of the
// old tools. It costs a few looks, and no spec is parsed.
func None(d guest.Dirs, n guest.Name) bool {
	text, err := os.ReadFile(d.Spec(n))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || strings.Contains(string(text), "hooks") {
		return false
	}
	for _, path := range []string{string(n), ".migrated/" + string(n), ".defaults/scripts", ".defaults/apps"} {
		if there, err := file.Exists(filepath.Join(d.Config, path)); there || err != nil {
			return false
		}
	}
	return true
}
