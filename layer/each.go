package layer

import (
	"context"
	"fmt"
	"slices"

	"vserver/kernel/file"
)

// deepest is how deep a tree may be that is walked: no path of PATH_MAX (4096 bytes) goes
// deeper, and each level holds a descriptor or two.
const deepest = 2048

// Each calls do with each name in a directory, in order, until one fails or ctx ends.
// depth is how far below its tree's root the directory lies: one that is too deep is
// refused, so that no tree exhausts our stack. op names the work in that error.
func Each(ctx context.Context, op string, d *file.Dir, depth int, do func(name string) error) error {
	if depth > deepest {
		return fmt.Errorf("%s %s: more than %d directories deep", op, d.Path(), deepest)
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := do(name); err != nil {
			return err
		}
	}
	return nil
}
