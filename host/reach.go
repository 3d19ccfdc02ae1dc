package host

import (
	"context"

	"vserver/host/reach"
)

// The words of files that are copied, from the package that does it.
type (
	// CopyPlace is something to copy, or where to.
	CopyPlace = reach.Place
	// CopyOptions are the ways to copy files.
	CopyOptions = reach.Options
)

// CopyFiles copies files between the host and guests, running or not. All that is made is
// whole or not there.
func CopyFiles(ctx context.Context, h *Host, from []CopyPlace, to CopyPlace, o CopyOptions) error {
	return reach.Copy(ctx, h.Dirs, from, to, o)
}
