package host

import (
	"context"
	"fmt"

	"vserver/guest"
)

// What stands here is promised and not there yet. Whoever lands the real thing
// removes it from this file.

func pending(what string) error { return fmt.Errorf("%s: %w", what, guest.ErrUnsupported) }

func (r *run) networkUp(context.Context) error { return pending("network") }
func (r *run) networkDown() error              { return nil }
