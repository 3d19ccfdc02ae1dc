package gallery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vserver/build"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/making"
	"vserver/kernel/mount"
	"vserver/layer"
)

// ownAt is the tree that lies over a place of a guest's root, in the guest's directory.
func ownAt(at string) string {
	if at == "" {
		return "upper"
	}
	return filepath.Join("shared", at, "upper")
}

// top makes empty trees as a new guest has them over its images and over the directories
// of the host that it shares, in memory where nobody else sees them. What is hidden there
// is what seen, one root for each place, does not show.
func (c *comparing) top(places []string, seen []*layer.Root) (string, error) {
	fd, err := mount.New("tmpfs", mount.NoDev|mount.NoSuid|mount.NoExec, "mode=700")
	if err != nil {
		return "", err
	}
	at := os.NewFile(uintptr(fd), "tmpfs")
	c.held = append(c.held, func() { at.Close() })
	var shared, hidden []string
	for i, p := range places {
		if p != "" {
			shared = append(shared, "/"+p)
		}
		if p == "usr" {
			hidden = slices.DeleteFunc(build.Hidden(), func(dir string) bool {
				first, _, _ := strings.Cut(strings.TrimPrefix(dir, "/usr/"), "/")
				return !seen[i].Hides(first)
			})
		}
	}
	dir := fmt.Sprintf("/proc/self/fd/%d/.", fd)
	return dir, files.MakeOwnAt(dir, 0, shared, hidden)
}

// expect writes into the view before what a new guest would have there.
func (c *comparing) expect(spec *guest.Spec, before, after *layer.Root) error {
	id, err := files.Identity(c.dirs, spec)
	if err == nil {
		id.Files, err = making.Presets(c.dirs)
	}
	if err == nil {
		err = id.Expect(before, after)
	}
	if errors.Is(err, layer.ErrOdd) { // no guest is built upon such an image
		return nil
	}
	return err
}
