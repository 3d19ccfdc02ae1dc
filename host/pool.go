package host

import (
	"context"
	"io"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/gallery"
	"vserver/host/unification"
	"vserver/unify"
	"vserver/unify/beneath"
)

// The words of unification, from the package that does it.
type (
	// Unified is an image, and what unifying did with it.
	Unified = unification.Unified
	// UnifyOptions are the ways to unify.
	UnifyOptions = unification.Options
	// Damaged is an object that is not what it was, and whom that hits.
	Damaged = unification.Damaged
	// VerifyOptions are the ways to verify.
	VerifyOptions = unification.VerifyOptions
	// Verified says what was read.
	Verified = unify.Verified
	// Hashified is what was done with a guest's files.
	Hashified = unification.Hashified
	// HashifyOptions are the ways to unify a guest's files.
	HashifyOptions = unification.GuestOptions
	// Lifted says which files became a guest's own again.
	Lifted = beneath.Lifted
	// Space is what a guest's files take.
	Space = unification.Space
	// Collected says which objects were removed.
	Collected = unify.Collected
)

// UnifyImages makes equal files of images one file; of all images when none are named.
func UnifyImages(ctx context.Context, h *Host, words []string, o UnifyOptions) ([]Unified, error) {
	return unification.Images(ctx, h.Dirs, words, o)
}

// Hashify unifies the files of a guest, stopped or running.
func Hashify(ctx context.Context, h *Host, n guest.Name, o HashifyOptions) (Hashified, error) {
	out, err := unification.Guest(ctx, h.Dirs, n, o)
	return out, fault.New(string(n), "hashify", files.HintFull(err, h.Dirs.Data))
}

// Unhashify makes files of a stopped guest that are unified its own again.
func Unhashify(ctx context.Context, h *Host, n guest.Name, progress io.Writer) (Lifted, error) {
	out, err := unification.Undo(ctx, h.Dirs, n, UnifyOptions{Progress: progress})
	return out, fault.New(string(n), "unhashify", err)
}

// Spaces tells what the files of guests take, in their order.
func Spaces(ctx context.Context, h *Host, names []guest.Name) ([]Space, error) {
	return unification.Spaces(ctx, h.Dirs, names)
}

// VerifyPool reads all objects, and repairs what is damaged from other copies.
func VerifyPool(ctx context.Context, h *Host, o VerifyOptions) (Verified, []Damaged, error) {
	return unification.Verify(ctx, h.Dirs, o)
}

// CollectPool removes what killed operations left and the objects that no image has.
func CollectPool(ctx context.Context, h *Host, dry bool) (Collected, error) {
	if _, err := gallery.Collect(h.Dirs, gallery.CollectOptions{DryRun: dry}); err != nil {
		return Collected{}, err
	}
	return unification.Collect(ctx, h.Dirs, dry)
}
