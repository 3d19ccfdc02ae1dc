package host

import (
	"context"
	"fmt"
	"time"

	"vserver/guest"
)

// What stands here is promised and not there yet. Whoever lands the real thing
// removes it from this file.

func pending(what string) error { return fmt.Errorf("%s: %w", what, guest.ErrUnsupported) }

func (r *run) tell(context.Context) error      { return nil }
func (r *run) networkUp(context.Context) error { return pending("network") }
func (r *run) networkDown() error              { return nil }

// Usage is what a guest uses of the machine.
type Usage struct {
	XID       guest.XID     `json:"xid"`
	Name      guest.Name    `json:"name"`
	Processes int           `json:"processes"`
	VSZ       guest.Bytes   `json:"vsz"`
	RSS       guest.Bytes   `json:"rss"`
	User      time.Duration `json:"user_s"`
	System    time.Duration `json:"system_s"`
	Uptime    time.Duration `json:"uptime_s"`
}

// Usage says what the host and each running guest use.
func (h *Host) Usage() ([]Usage, error) { return nil, pending("stat") }
