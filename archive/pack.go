package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"vserver/kernel/file"
	"vserver/layer"
)

// Packer writes a tree as a tar archive, which Unpacker and other tools read.
type Packer struct {
	// Shift gives the owners their numbers in the archive.
	Shift layer.Shift
	// Whole keeps what belongs to one guest's own tree alone: the marks of its overlay,
	// sockets, and where files have holes. Only an Unpacker for one knows the last two.
	Whole bool
	// Tell, when not nil, is called before each entry with what was written so far.
	Tell func(entries, bytes int64)

	w       *tar.Writer
	links   map[inode]string // paths of files with several names
	entries int64
	bytes   int64
	buf     []byte // for content
}

type inode struct{ dev, ino uint64 }

// The numbers of a Linux device are in these bits of st_rdev as the kernel gives them
// (makedev(3)).
func major(dev uint64) int64 { return int64(dev>>8&0xfff | dev>>32&^0xfff) }
func minor(dev uint64) int64 { return int64(dev&0xff | dev>>12&^0xff) }

// Run writes the tree at d, its root as "./". Sockets are left out, as by every tar,
// unless it is Whole, and the content of directories that are mount points. Nothing is
// written behind the archive's end.
func (p *Packer) Run(ctx context.Context, w io.Writer, d *file.Dir) error {
	p.w, p.links = tar.NewWriter(w), map[inode]string{}
	p.buf = make([]byte, 256<<10)
	if err := p.self(d); err != nil {
		return err
	}
	if err := p.dir(ctx, d, "", 0); err != nil {
		return err
	}
	return p.w.Close()
}

// self writes the root itself.
func (p *Packer) self(d *file.Dir) error {
	e, err := d.SelfEntry()
	if err != nil {
		return err
	}
	defer e.Close()
	st, err := e.Stat()
	if err != nil {
		return err
	}
	return p.head(e, st, &tar.Header{Name: "./", Typeflag: tar.TypeDir})
}

func (p *Packer) dir(ctx context.Context, d *file.Dir, at string, depth int) error {
	return layer.Each(ctx, "pack", d, depth, func(name string) error {
		if p.Tell != nil {
			p.Tell(p.entries, p.bytes)
		}
		return p.entry(ctx, d, name, path.Join(at, name), depth)
	})
}

func (p *Packer) entry(ctx context.Context, d *file.Dir, name, at string, depth int) error {
	e, err := d.Entry(name)
	if err != nil {
		return err
	}
	defer e.Close()
	st, err := e.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: "./" + at}
	if first, ok := p.links[inode{st.Dev, st.Ino}]; ok {
		h.Typeflag, h.Linkname = tar.TypeLink, first
		return p.head(e, st, h)
	}
	if st.Links > 1 && st.Type() != file.TypeDir {
		p.links[inode{st.Dev, st.Ino}] = h.Name
	}
	switch st.Type() {
	case file.TypeDir:
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		if err := p.head(e, st, h); err != nil || st.MountRoot {
			return err
		}
		sub, err := d.Dir(name)
		if err != nil {
			return err
		}
		defer sub.Close()
		return p.dir(ctx, sub, at, depth+1)
	case file.TypeFile:
		return p.file(ctx, d, name, e, h)
	case file.TypeLink:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = d.Readlink(name); err != nil {
			return err
		}
	case file.TypeFIFO:
		h.Typeflag = tar.TypeFifo
	case file.TypeChar, file.TypeBlock:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, major(st.Rdev), minor(st.Rdev)
		if st.Type() == file.TypeBlock {
			h.Typeflag = tar.TypeBlock
		}
	default:
		if !p.Whole {
			return nil
		}
		h.Typeflag, h.PAXRecords = tar.TypeFifo, map[string]string{socketRecord: "1"}
	}
	return p.head(e, st, h)
}

// file writes a regular file of exactly the size that its header says, or fails.
func (p *Packer) file(ctx context.Context, d *file.Dir, name string, e *file.Entry, h *tar.Header) error {
	f, err := d.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := e.Stat()
	if err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	parts := []file.Segment{{Len: st.Size}}
	if p.Whole && st.Disk < st.Size {
		if parts, err = file.Segments(f, st.Size, maxParts); err != nil {
			return err
		}
		h.Size = setParts(h, st.Size, parts)
		if h.Size > maxHoles && h.Size/16 > st.Disk {
			return fmt.Errorf("pack %s: in more than %d parts, with %d GiB of holes between: %w", e.Path(), maxParts, h.Size>>30, errors.ErrUnsupported)
		}
	}
	if err := p.head(e, st, h); err != nil {
		return err
	}
	for _, part := range parts {
		if err := p.content(ctx, f, part); err != nil {
			if told := (*fs.PathError)(nil); !errors.As(err, &told) {
				err = fmt.Errorf("pack %s: %w", e.Path(), err)
			}
			return err
		}
	}
	return nil
}

func (p *Packer) content(ctx context.Context, f *os.File, part file.Segment) error {
	from := io.NewSectionReader(f, part.At, part.Len)
	n, err := io.CopyBuffer(struct{ io.Writer }{p.w}, layer.Until(ctx, from), p.buf)
	p.bytes += n
	if err == nil && n < part.Len {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// head writes an entry's header.
func (p *Packer) head(e *file.Entry, st file.Stat, h *tar.Header) error {
	p.entries++
	h.Mode = int64(st.Perm())
	h.Uid, h.Gid = int(p.Shift.ID(st.UID)), int(p.Shift.ID(st.GID))
	h.ModTime = time.Unix(0, st.Mtime)
	h.Format = tar.FormatPAX
	if h.Typeflag != tar.TypeSymlink && h.Typeflag != tar.TypeLink {
		xs, err := e.Xattrs()
		if err != nil {
			return err
		}
		for _, x := range xs {
			if !p.Whole && strings.HasPrefix(x.Name, "trusted.") {
				continue
			}
			x, ok, err := p.Shift.Xattr(x)
			if err != nil {
				return fmt.Errorf("pack %s: %w", e.Path(), err)
			}
			if ok {
				if h.PAXRecords == nil {
					h.PAXRecords = map[string]string{}
				}
				h.PAXRecords[xattrRecord+x.Name] = string(x.Value)
			}
		}
	}
	return p.w.WriteHeader(h)
}
