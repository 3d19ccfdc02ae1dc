package host

import (
	"context"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/making"
	"vserver/host/snapshot"
	"vserver/stack"
)

// The words of snapshots, from the packages that deal with them.
type (
	// CloneOptions are the ways to clone a guest.
	CloneOptions = making.CloneOptions
	// Snapshot is what a guest was at some time.
	Snapshot = stack.Snapshot
)

// ErrNoSnapshot says that a guest has no such snapshot.
var ErrNoSnapshot = stack.ErrNoSnapshot

// TakeSnapshot takes a snapshot of a guest, running or not, called by the time for "".
func TakeSnapshot(ctx context.Context, h *Host, n guest.Name, name string) (Snapshot, error) {
	s, err := snapshot.Create(ctx, h.Dirs, n, name)
	return s, fault.New(string(n), "snapshot", files.HintFull(err, h.Dirs.Data))
}

// Snapshots lists those of a guest, the oldest first.
func Snapshots(h *Host, n guest.Name) ([]Snapshot, error) {
	list, err := snapshot.List(h.Dirs, n)
	return list, fault.New(string(n), "snapshot", err)
}

// DeleteSnapshot removes one, and what of its files nobody else has.
func DeleteSnapshot(h *Host, n guest.Name, name string) error {
	return fault.New(string(n), "snapshot", snapshot.Delete(h.Dirs, n, name))
}

// Rollback gives a stopped guest the files of a snapshot, of the last one for "".
func Rollback(ctx context.Context, h *Host, n guest.Name, name string) (Snapshot, error) {
	s, err := snapshot.Restore(ctx, h.Dirs, n, name)
	return s, fault.New(string(n), "", files.HintFull(err, h.Dirs.Data))
}
