package unify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"vserver/kernel/file"
	"vserver/layer"
)

// Key is what an object is called: the SHA-256 of its metadata and content, as 64
// hexadecimal digits.
type Key string

// errChanged says that a file was written or replaced while it was read, errOverlay
// that it has an overlay's notes, which belong to one place alone, errSparse that it is
// holes, of which no two would save anything.
var (
	errChanged = errors.New("changed meanwhile")
	errOverlay = errors.New("has notes of an overlay")
	errSparse  = errors.New("is sparse")
)

// unchanged tells whether two looks saw one file in one state. The count of links and
// the change time that goes with it may differ when relinked is said: our own linking
// changes them.
func unchanged(a, b file.Stat, relinked bool) bool {
	a.Atime, b.Atime, a.Disk, b.Disk = 0, 0, 0, 0
	if relinked {
		a.Links, b.Links, a.Ctime, b.Ctime = 0, 0, 0, 0
	}
	return a == b
}

// sum reads a regular file and gives its key, with what the file was like. Everything
// that a process can see of the file is in the key but its number, its links, the times
// of access and change and the host's security labels, so two files of one key can stand
// for each other. With a shift it is the key of what the file would be with ids so
// shifted. room is a buffer to read with, nil for one of its own. A sparse file of a guest's
// is refused; objects may be what they are.
func sum(ctx context.Context, d *file.Dir, name string, by *layer.Shift, room []byte) (Key, file.Stat, error) {
	return summed(ctx, d, name, by, room, false)
}

// summed is sum, of sparse files as well when that is said.
func summed(ctx context.Context, d *file.Dir, name string, by *layer.Shift, room []byte, sparse bool) (Key, file.Stat, error) {
	e, err := file.Readable(d, name)
	if err != nil {
		return "", file.Stat{}, err
	}
	defer e.Close()
	st, err := e.Stat()
	if err == nil && st.Type() != file.TypeFile {
		err = fmt.Errorf("read %s: %w", e.Path(), errChanged)
	}
	if err == nil && st.Sparse() && !sparse {
		err = fmt.Errorf("read %s: %w", e.Path(), errSparse)
	}
	if err != nil {
		return "", st, err
	}
	xs, err := e.Xattrs()
	if err != nil {
		return "", st, err
	}
	h := sha256.New()
	if err := head(h, st, xs, by); err != nil {
		return "", st, fmt.Errorf("read %s: %w", e.Path(), err)
	}
	if err := content(ctx, h, e, st.Size, room); err != nil {
		return "", st, err
	}
	now, err := d.Stat(name)
	if err == nil && !unchanged(st, now, true) {
		err = fmt.Errorf("read %s: %w", e.Path(), errChanged)
	}
	return Key(hex.EncodeToString(h.Sum(nil))), st, err
}

// roomy is how much of a file is read at once.
const roomy = 128 << 10

// content takes in what is in a file of the size, in pieces of room, or of a buffer of its own
// for nil. One that has become longer meanwhile is for the caller to notice.
func content(ctx context.Context, h io.Writer, e *file.Entry, size int64, room []byte) error {
	if room == nil {
		room = make([]byte, min(max(size, 1), roomy))
	}
	for left := size; left > 0; {
		if err := ctx.Err(); err != nil { // a file can be of any size
			return err
		}
		n, err := e.Read(room)
		if err != nil || n == 0 {
			return err
		}
		h.Write(room[:n])
		left -= int64(n)
	}
	return nil
}

// head takes in what there is of a file but its content.
func head(h io.Writer, st file.Stat, xs []file.Xattr, by *layer.Shift) error {
	var kept []file.Xattr
	for _, x := range xs {
		keep, err := true, error(nil)
		switch {
		case by != nil && x.Name == "trusted.overlay.origin":
			continue
		case layer.Note(x):
			return errOverlay
		case strings.HasPrefix(x.Name, "security.") && x.Name != "security.capability":
			continue // a label of the host's
		case by != nil:
			x, keep, err = by.Xattr(x)
		}
		if err != nil {
			return err
		}
		if keep {
			kept = append(kept, x)
		}
	}
	slices.SortFunc(kept, func(a, b file.Xattr) int { return strings.Compare(a.Name, b.Name) })
	if by != nil {
		st.UID, st.GID = by.ID(st.UID), by.ID(st.GID)
	}
	fmt.Fprintf(h, "vserver object 1\n%o %d %d %d %d %d\n", st.Mode, st.UID, st.GID, st.Size, st.Mtime, len(kept))
	for _, x := range kept {
		fmt.Fprintf(h, "%d:%s%d:%s", len(x.Name), x.Name, len(x.Value), x.Value)
	}
	return nil
}
