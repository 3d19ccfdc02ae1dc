package build

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vserver/fault"
	"vserver/guest"
)

// suites is where debootstrap has a script for each suite that it can install.
const suites = "/usr/share/debootstrap/scripts"

// script gives the path of a script.
func script(name string) (string, error) {
	path, err := filepath.Abs(name)
	if !strings.Contains(name, "/") {
		path = filepath.Join(suites, name)
	}
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fault.Hint(fmt.Errorf("script: %w", err), "ls "+suites)
	}
	return path, nil
}

// knownSuite refuses a suite that debootstrap does not know. Without debootstrap all are
// known: that it is missing is told later.
func knownSuite(dir, suite string) error {
	scripts, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var known []string
	for _, s := range scripts {
		known = append(known, s.Name())
	}
	if slices.Contains(known, suite) {
		return nil
	}
	meant := "; bookworm is one"
	if near := guest.Nearest(suite, known); near != "" {
		meant = "; did you mean " + near + "?"
	}
	return fault.Hint(fmt.Errorf("suite %q: debootstrap knows no such one%s: %w", suite, meant, guest.ErrInvalid), "ls "+dir)
}
