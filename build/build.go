// Package build makes the files of guests: each method is a Source, whose Fill puts a
// tree owned by ids from 0 into an empty directory, which then becomes an image of the
// pool or, shifted to the guest's ids, its plain root.
//
//	Host         a skeleton for a guest that shares the host's /usr; nothing is fetched
//	Debootstrap  Debian and its kin, by the distribution's own tool
//	Template     a tar archive or an OCI image, both hostile until unpacked
//	Rsync        a directory or a running server
//	Skeleton     the bare directories
//	Image        an image that the pool has already
//
//house:allow seven ways of doing one thing, a file each
package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"

	"vserver/image"
	"vserver/kernel/file"
)

// Source is one way to make a guest's files, with its settings.
type Source struct {
	Method string // as in `build -m`
	// Text says for people where the files come from.
	Text string
	// Name gives the name of the image that Fill makes. Equal names are equal content:
	// an image that is in the pool under that name is used instead of calling Fill.
	// "" means that every call makes other files.
	Name func(context.Context) (string, error)
	// Origin, when not nil, identifies the files' source: a digest or a sum.
	Origin func(context.Context) (string, error)
	// Image names an image that is there; then nothing is filled.
	Image string
	// Fill makes the files in dir, which is empty, root's and 0755.
	Fill func(ctx context.Context, dir string, p Progress) error
	// Within has what Fill runs to read what strangers made started by start; nil runs nothing
	// like that.
	Within func(start func(*exec.Cmd) error)
	// Program gives, after Fill, what the files' maker says is to be run in them; nil
	// when there never is one.
	Program func() image.Config
	// Cache says that Fill needs nothing but this host: the image may be thrown away
	// when no guest uses it.
	Cache bool
	// Moves says that the files are one particular system's, whose accounts and keys
	// are kept.
	Moves bool
	// Shared are directories of the host for root.shared, and Hidden those below them
	// that the guest gets empty, parents first.
	Shared, Hidden []string
}

// Progress is told, line by line, what is being done. A nil Progress is told nothing.
type Progress func(line string)

// Lines gives a Progress that writes to w; nil gives nil.
func Lines(w io.Writer) Progress {
	if w == nil {
		return nil
	}
	return func(line string) { fmt.Fprintln(w, line) }
}

// Say tells one line.
func (p Progress) Say(format string, args ...any) {
	if p != nil {
		p(fmt.Sprintf(format, args...))
	}
}

// imageName is a name made of words and of a hash of all that decides the content.
func imageName(words []string, decides ...string) string {
	h := sha256.New()
	for _, d := range decides {
		fmt.Fprintf(h, "%d:%s", len(d), d)
	}
	var clean []string
	for _, w := range words {
		w = strings.Map(func(r rune) rune {
			if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_') {
				return r
			}
			return '-'
		}, w)
		if w = strings.Trim(w, ".-_"); w != "" {
			clean = append(clean, w[:min(len(w), 40)])
		}
	}
	return strings.Join(append(clean, hex.EncodeToString(h.Sum(nil))[:12]), "-")
}

// mkdirs makes directories of an image; each is "path mode [uid gid]", parents first.
// Those that are there stay as they are.
func mkdirs(root *file.Dir, table []string) error {
	for _, line := range table {
		var p string
		var mode, uid, gid uint32
		if _, err := fmt.Sscanf(line+" 0 0", "%s %o %d %d", &p, &mode, &uid, &gid); err != nil {
			return fmt.Errorf("directory %q: %w", line, err)
		}
		if err := mkdir(root, p, mode, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

func mkdir(root *file.Dir, p string, mode, uid, gid uint32) error {
	dir, name, err := root.Parent(p)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = dir.Mkdir(name, mode)
	if isExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	e, err := dir.Entry(name)
	if err != nil {
		return err
	}
	defer e.Close()
	if uid|gid != 0 {
		if err := e.Chown(uid, gid); err != nil {
			return err
		}
	}
	return e.Chmod(mode)
}

func isExist(err error) bool { return errors.Is(err, fs.ErrExist) }

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
