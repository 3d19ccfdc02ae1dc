package layer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"

	"vserver/kernel/file"
)

// Sum is what Digest read of a tree.
type Sum struct {
	// Digest is "sha256:" and a number of 64 hexadecimal digits. Trees that have it in
	// common have the same paths, types, permission bits, owners, extended attributes,
	// links, devices and contents; times and the names that share a file may differ.
	Digest string
	Files  int64 // entries, directories among them
	Bytes  int64 // content of regular files
}

// Digest reads a tree once, in the order of its names. tell, when not nil, is called
// before each entry with what was read so far.
func Digest(ctx context.Context, d *file.Dir, tell func(files, bytes int64)) (Sum, error) {
	g := digester{h: sha256.New(), tell: tell, buf: make([]byte, 1<<18)}
	e, err := d.SelfEntry()
	if err != nil {
		return Sum{}, err
	}
	defer e.Close()
	st, err := e.Stat()
	if err != nil {
		return Sum{}, err
	}
	if err := g.head(".", e, st); err != nil {
		return Sum{}, err
	}
	if err := g.dir(ctx, d, 0); err != nil {
		return Sum{}, err
	}
	g.sum.Digest = "sha256:" + hex.EncodeToString(g.h.Sum(nil))
	return g.sum, nil
}

type digester struct {
	h    hash.Hash
	sum  Sum
	tell func(files, bytes int64)
	buf  []byte
}

// word takes a string in so that no two lists of strings are taken for each other.
func (g *digester) word(s string) { fmt.Fprintf(g.h, "%d:%s", len(s), s) }

// head takes in what there is of any entry.
func (g *digester) head(name string, e *file.Entry, st file.Stat) error {
	g.word(name)
	fmt.Fprintf(g.h, "%o %d %d %d;", st.Mode, st.UID, st.GID, st.Rdev)
	if st.Type() == file.TypeLink {
		return nil
	}
	xs, err := e.Xattrs()
	if err != nil {
		return err
	}
	slices.SortFunc(xs, func(a, b file.Xattr) int { return strings.Compare(a.Name, b.Name) })
	for _, x := range xs {
		if strings.HasPrefix(x.Name, "security.") && x.Name != "security.capability" {
			continue // labels of the host's security modules
		}
		g.word(x.Name)
		g.word(string(x.Value))
	}
	g.word("")
	return nil
}

func (g *digester) dir(ctx context.Context, d *file.Dir, depth int) error {
	err := Each(ctx, "read", d, depth, func(name string) error {
		if g.tell != nil {
			g.tell(g.sum.Files, g.sum.Bytes)
		}
		return g.entry(ctx, d, name, depth)
	})
	if err != nil {
		return err
	}
	g.word("") // no entry is called so: the end of the directory
	return nil
}

func (g *digester) entry(ctx context.Context, d *file.Dir, name string, depth int) error {
	e, err := d.Entry(name)
	if err != nil {
		return err
	}
	defer e.Close()
	st, err := e.Stat()
	if err != nil {
		return err
	}
	g.sum.Files++
	if err := g.head(name, e, st); err != nil {
		return err
	}
	switch st.Type() {
	case file.TypeDir:
		if st.MountRoot {
			return nil
		}
		sub, err := d.Dir(name)
		if err != nil {
			return err
		}
		defer sub.Close()
		return g.dir(ctx, sub, depth+1)
	case file.TypeLink:
		target, err := d.Readlink(name)
		g.word(target)
		return err
	case file.TypeFile:
		return g.content(ctx, d, name)
	}
	return nil
}

func (g *digester) content(ctx context.Context, d *file.Dir, name string) error {
	f, err := d.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	own := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{own}, Until(ctx, f), g.buf)
	g.h.Write(own.Sum(nil))
	g.sum.Bytes += n
	return err
}

// Until gives a reader that ends with ctx: a file can be of any size.
func Until(ctx context.Context, r io.Reader) io.Reader { return until{ctx, r} }

type until struct {
	ctx context.Context
	io.Reader
}

// Read reads.
func (u until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}
