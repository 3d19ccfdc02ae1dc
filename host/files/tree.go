package files

import (
	"fmt"
	"strings"

	"vserver/guest"
	"vserver/store"
)

// SharesTree tells whether the plain directory of another guest than n is path, in it or
// around it (root.path). A guest whose spec cannot be read is an error.
func SharesTree(d guest.Dirs, n guest.Name, path string) (bool, error) {
	all, err := store.Names(d.Config)
	if err != nil {
		return false, err
	}
	for _, other := range all {
		if other == n {
			continue
		}
		spec, err := store.Load(d.Spec(other))
		if there, gone := store.Exists(d.Spec(other)); err != nil && gone == nil && !there {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return false, fmt.Errorf("whether %s has files in %s cannot be told: %w", other, path, err)
		}
		if p := spec.Root.Path; p != "" && overlap(p, path) {
			return true, nil
		}
	}
	return false, nil
}

// overlap tells whether one path is the other or leads through it. Specs have them clean.
func overlap(a, b string) bool {
	return strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")
}
