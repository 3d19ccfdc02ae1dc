package host

import (
	"context"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/making"
	"vserver/store"
	"vserver/store/legacy"
)

// Migration is what becomes of a guest of Linux-VServer's directory.
type Migration = making.Migration

// MigrateOptions are the ways to make a spec of such a directory.
type MigrateOptions = making.MigrateOptions

// Exists tells whether there is such a guest: a spec, or a directory of Linux-VServer's.
func Exists(h *Host, n guest.Name) bool {
	there, err := store.Exists(h.Dirs.Spec(n))
	return err == nil && there
}

// Explain tells what becomes of each file of a guest's directory of Linux-VServer's. The
// error is guest.ErrNotFound when it has none.
func Explain(h *Host, n guest.Name) (*legacy.Guest, error) {
	g, err := store.Explain(h.Dirs.Spec(n))
	return g, fault.New(string(n), "config", err)
}

// Migrate writes the spec that a guest's directory of Linux-VServer's says, keeps the
// directory aside, and with Chown gives the guest's files ids of its own.
func Migrate(ctx context.Context, h *Host, n guest.Name, o MigrateOptions) (Migration, error) {
	m, err := making.Migrate(ctx, h.Dirs, n, o)
	return m, fault.New(string(n), "migrate", err)
}
