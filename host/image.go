package host

import (
	"context"
	"io"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/gallery"
	"vserver/host/making"
)

// The words of images, from the package that deals with them.
type (
	// Image is an image, the guests whose roots lie over it, and the tags that mean it.
	Image = gallery.Image
	// ImportOptions are the ways to take in an image.
	ImportOptions = gallery.ImportOptions
	// CollectOptions are the ways to collect garbage among images.
	CollectOptions = gallery.CollectOptions
	// Finding is an image that is not what it was.
	Finding = gallery.Finding
	// Rebased is what a rebase did, or would do.
	Rebased = gallery.Rebased
	// RebaseOptions say how a guest is laid over another image.
	RebaseOptions = gallery.RebaseOptions
	// Conflict is a file that both a guest and a new image changed.
	Conflict = gallery.Conflict
	// DiffOptions say what of a guest is compared with what.
	DiffOptions = gallery.DiffOptions
	// Difference is what a comparison finds.
	Difference = gallery.Difference
)

// Images lists the images, sorted by name.
func Images(h *Host) ([]Image, error) { return gallery.List(h.Dirs) }

// ShowImage gives the image that a word means.
func ShowImage(h *Host, word string) (Image, error) { return gallery.Show(h.Dirs, word) }

// ImportImage makes an image of what src gives, and tells its full name.
func ImportImage(ctx context.Context, h *Host, word string, src build.Source, o ImportOptions) (string, error) {
	return gallery.Import(ctx, h.Dirs, word, src, o)
}

// GuestFiles are the files of a guest, or of its snapshot called name, to make an image of.
func GuestFiles(h *Host, n guest.Name, name string) build.Source {
	return gallery.Guest(h.Dirs, n, name)
}

// TagImage makes word mean the image that to means now; nothing any more for to "".
func TagImage(ctx context.Context, h *Host, to, word string) error {
	return gallery.Tag(ctx, h.Dirs, to, word)
}

// ExportImage writes an image as a tar archive, packed by "zstd", "gzip" or "".
func ExportImage(ctx context.Context, h *Host, word, kind string, w, progress io.Writer) error {
	return gallery.Export(ctx, h.Dirs, word, kind, w, progress)
}

// VerifyImages reads images, all when none are named, and gives those that are not what
// they were.
func VerifyImages(ctx context.Context, h *Host, words []string, progress io.Writer) ([]Finding, error) {
	return gallery.Verify(ctx, h.Dirs, words, progress)
}

// CollectImages sweeps what killed operations left and removes images that are not
// needed, and gives the names of these.
func CollectImages(h *Host, o CollectOptions) ([]string, error) { return gallery.Collect(h.Dirs, o) }

// RemoveImage removes an image that no guest has: else it is guest.ErrBusy.
func RemoveImage(h *Host, name string) error { return making.RemoveImage(h.Dirs, name) }

// Rebase puts an image in the place of one beneath a stopped guest.
func (h *Host) Rebase(ctx context.Context, n guest.Name, word string, o RebaseOptions) (Rebased, error) {
	r, err := gallery.Rebase(ctx, h.Dirs, n, word, o)
	return r, fault.New(string(n), "rebase", err)
}

// Diff compares what a guest has, running or not, with its images, another one, or a
// snapshot.
func Diff(ctx context.Context, h *Host, n guest.Name, o DiffOptions) (Difference, error) {
	out, err := gallery.Diff(ctx, h.Dirs, n, o)
	return out, fault.New(string(n), "diff", err)
}
