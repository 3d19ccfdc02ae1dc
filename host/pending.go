package host

import (
	"context"
	"fmt"
	"time"

	"vserver/guest"
	"vserver/step"
)

// What stands here is promised and not there yet. Whoever lands the real thing
// removes it from this file.

func pending(what string) error { return fmt.Errorf("%s: %w", what, guest.ErrUnsupported) }

// Names gives the guests of this host, sorted.
func (h *Host) Names() ([]guest.Name, error) { return nil, pending("names") }

// Load reads a guest's spec, defaults filled in.
func (h *Host) Load(guest.Name) (*guest.Spec, error) { return nil, pending("load") }

// Start starts a guest.
func (h *Host) Start(context.Context, guest.Name, StartOptions) (*guest.Exit, error) {
	return nil, pending("start")
}

// PlanStart gives the steps of a start.
func (h *Host) PlanStart(guest.Name) ([]step.Step, error) { return nil, pending("start") }

// PlanStop gives the steps of a stop.
func (h *Host) PlanStop(guest.Name) ([]step.Step, error) { return nil, pending("stop") }

// Stop stops a guest.
func (h *Host) Stop(context.Context, guest.Name, StopOptions) error { return pending("stop") }

// Exec runs a command in a guest.
func (h *Host) Exec(context.Context, guest.Name, Command) (int, error) { return 0, pending("exec") }

// Status says how a guest is.
func (h *Host) Status(guest.Name) (guest.Status, error) { return guest.Status{}, pending("status") }

// List says how all guests are.
func (h *Host) List() ([]guest.Status, error) { return nil, pending("list") }

// Kill sends a signal into a guest.
func (h *Host) Kill(guest.Name, guest.Signal, ...int) error { return pending("kill") }

// Wait waits until a guest no longer runs.
func (h *Host) Wait(context.Context, guest.Name) error { return pending("wait") }

// Config gives a setting, or the whole spec.
func (h *Host) Config(n, key string) (string, error) { return "", pending("config") }

// Set changes settings.
func (h *Host) Set(n string, assignments []string) error { return pending("set") }

// Edit replaces a spec.
func (h *Host) Edit(guest.Name, []byte) error { return pending("edit") }

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
