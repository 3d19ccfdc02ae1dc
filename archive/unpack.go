package archive

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
)

// Tar unpacks a tar stream.
func (u *Unpacker) Tar(ctx context.Context, r io.Reader) error { return u.unpack(ctx, r, false) }

// Layer unpacks a layer of an OCI image over those before: entries may replace what an
// earlier layer brought, and names that begin with .wh. take it away.
func (u *Unpacker) Layer(ctx context.Context, r io.Reader) error { return u.unpack(ctx, r, true) }

func (u *Unpacker) unpack(ctx context.Context, r io.Reader, isLayer bool) error {
	u.here, u.ways, u.layer, u.times = map[string]bool{}, map[string]bool{}, isLayer, nil
	defer u.close()
	stream := &counter{r: r, check: u.inflated}
	defer func() { u.Taken = stream.n }()
	if u.Whole {
		stream.check = u.long
	}
	t := tar.NewReader(stream)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		if err := u.entry(h, t); err != nil {
			return err
		}
	}
	if len(u.here) == 0 && stream.n == 0 {
		return fmt.Errorf("archive: empty: %w", ErrHostile)
	}
	return u.setTimes()
}

// counter counts a stream and lets check refuse it.
type counter struct {
	r     io.Reader
	n     int64
	check func(n int64) error
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	if over := c.check(c.n); over != nil {
		return n, over
	}
	return n, err
}

// long refuses a stream that is longer than all that it may unfold to.
func (u *Unpacker) long(n int64) error {
	if n > u.Limits.Bytes+int64(u.Limits.Entries)*1024 {
		return fmt.Errorf("archive: more than %d bytes: %w", u.Limits.Bytes, ErrHostile)
	}
	return nil
}

// inflated refuses more bytes than the packed stream can honestly hold.
func (u *Unpacker) inflated(n int64) error {
	if err := u.long(n); err != nil {
		return err
	}
	switch {
	case u.Packed == nil || n <= u.Limits.Free:
		return nil
	case n/u.Limits.Ratio > u.Packed():
		return fmt.Errorf("archive: %d bytes out of %d: %w", n, u.Packed(), ErrHostile)
	}
	return nil
}

func (u *Unpacker) entry(h *tar.Header, body io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if u.Done.Report.Entries++; u.Done.Report.Entries > u.Limits.Entries {
		return hostile(h.Name, "more than %d entries", u.Limits.Entries)
	}
	p, err := u.clean(h.Name)
	if err != nil {
		return err
	}
	if err := u.weigh(h); err != nil {
		return err
	}
	switch {
	case h.Uid < 0 || h.Gid < 0:
		return hostile(h.Name, "owner %d:%d", h.Uid, h.Gid)
	case h.Uid >= guest.IDs || h.Gid >= guest.IDs:
		u.Done.Report.IDs++
	}
	if p == "" {
		return u.rootEntry(h)
	}
	dirPath, name := path.Split(p)
	d, err := u.dir(path.Clean(strings.TrimSuffix(dirPath, "/") + "/."))
	if err != nil {
		return err
	}
	if u.layer && strings.HasPrefix(name, whiteout) {
		return u.whiteout(d, path.Dir(p), name)
	}
	for way := path.Dir(p); u.layer && way != "." && !u.ways[way]; way = path.Dir(way) {
		u.ways[way] = true
	}
	if done, err := u.remove(d, name, p, h); done {
		return err
	}
	made, err := u.make(d, name, p, h, body)
	if err != nil || !made {
		return err
	}
	return u.meta(d, name, p, h)
}

// rootEntry takes owner and mode of the root itself.
func (u *Unpacker) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return hostile(h.Name, "the root is no directory")
	}
	e, err := u.root.SelfEntry()
	if err != nil {
		return err
	}
	defer e.Close()
	u.times = append(u.times, stamp{"", u.clampTime(h.ModTime)})
	return u.setMeta(e, h)
}

// make makes the file of an entry, whose directory is d.
func (u *Unpacker) make(d *file.Dir, name, p string, h *tar.Header, body io.Reader) (bool, error) {
	if done, made, err := u.special(d, name, p, h); done {
		return made, err
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont, tar.TypeLink, tar.TypeSymlink, tar.TypeFifo:
	default:
		return false, hostile(h.Name, "of unknown type %q", h.Typeflag)
	}
	if h.Typeflag == tar.TypeLink {
		return false, u.hardLink(d, name, p, h)
	}
	there, err := u.clear(d, name, p, h)
	if err != nil {
		return false, err
	}
	u.here[p] = h.Typeflag == tar.TypeDir
	switch h.Typeflag {
	case tar.TypeDir:
		if there {
			return true, nil
		}
		return true, d.Mkdir(name, 0o700)
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > u.Limits.Path {
			return false, hostile(h.Name, "a link to nothing, or to a path of %d bytes", len(h.Linkname))
		}
		u.forget()
		return true, d.Symlink(h.Linkname, name)
	case tar.TypeFifo:
		return true, d.Mknod(name, file.TypeFIFO|0o600, 0)
	}
	return true, u.writeFile(d, name, h, body)
}

// clear makes room for an entry. Within one archive files may come again, and
// directories, but none in the place of the other; a layer may replace what earlier
// ones brought. It tells whether a directory is there that shall stay.
func (u *Unpacker) clear(d *file.Dir, name, p string, h *tar.Header) (bool, error) {
	st, err := d.Stat(name)
	if isNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	isDir := st.Type() == file.TypeDir
	if isDir && h.Typeflag == tar.TypeDir {
		return true, nil
	}
	_, own := u.here[p]
	if (isDir || h.Typeflag == tar.TypeDir) && (own || !u.layer) {
		return false, hostile(h.Name, "twice, once as a directory")
	}
	u.forget()
	return false, d.RemoveAll(name)
}

// hardLink makes one more name of a file that was unpacked already.
func (u *Unpacker) hardLink(d *file.Dir, name, p string, h *tar.Header) error {
	target, err := u.clean(h.Linkname)
	if err != nil {
		return err
	}
	dirPath, base := path.Split(target)
	if base == "" {
		return hostile(h.Name, "a hard link to a directory")
	}
	if u.Done.Left[target] {
		u.Done.Report.Devices++
		return nil
	}
	from, err := u.linkDir(path.Clean(strings.TrimSuffix(dirPath, "/") + "/."))
	if isNotExist(err) {
		return hostile(h.Name, "a hard link to %q, which is not there", h.Linkname)
	}
	if err != nil {
		return err
	}
	defer from.Close()
	st, err := from.Stat(base)
	switch {
	case isNotExist(err):
		return hostile(h.Name, "a hard link to %q, which is not there", h.Linkname)
	case err != nil:
		return err
	case st.Type() == file.TypeDir:
		return hostile(h.Name, "a hard link to a directory")
	}
	if now, err := d.Stat(name); err == nil && now.Ino == st.Ino && now.Dev == st.Dev {
		return nil // to itself
	}
	if _, err := u.clear(d, name, p, h); err != nil {
		return err
	}
	u.here[p] = false
	return from.Link(base, d, name)
}

// linkDir opens the directory of a hard link's target, without making any.
func (u *Unpacker) linkDir(p string) (*file.Dir, error) {
	w := walker{u: u, links: maxLinks, layer: u.layer}
	return w.walk(p)
}

// Names of layers that take away instead of adding (OCI image layer specification).
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// whiteout removes what earlier layers brought: a name, or the content of a directory.
// What this layer has put there itself stays.
func (u *Unpacker) whiteout(d *file.Dir, dir, name string) error {
	u.forget()
	if name != opaque {
		gone := strings.TrimPrefix(name, whiteout)
		if gone == "" || gone == "." || gone == ".." {
			return hostile(name, "takes away nothing")
		}
		gonePath := path.Join(dir, gone)
		if _, own := u.here[gonePath]; own || u.ways[gonePath] {
			return nil
		}
		return d.RemoveAll(gone)
	}
	return u.empty(d, dir)
}

func (u *Unpacker) empty(d *file.Dir, dir string) error {
	names, err := d.Names()
	if err != nil {
		return err
	}
	for _, n := range names {
		p := path.Join(dir, n)
		isDir, own := u.here[p]
		if u.ways[p] {
			isDir, own = true, true
		}
		if !own {
			if err := d.RemoveAll(n); err != nil {
				return err
			}
			continue
		}
		if !isDir {
			continue
		}
		sub, err := d.Dir(n)
		if err != nil {
			return err
		}
		err = u.empty(sub, p)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// chunk is the size in bytes by which files are written; chunks of zeros become holes.
const chunk = 64 << 10

func (u *Unpacker) writeFile(d *file.Dir, name string, h *tar.Header, body io.Reader) error {
	size, parts := h.Size, []file.Segment{{Len: h.Size}}
	if u.Whole {
		var err error
		if size, parts, err = partsOf(h); err != nil {
			return err
		}
	}
	f, err := d.Open(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	end, err := u.writeParts(f, parts, body)
	if err == nil && end < size {
		err = f.Truncate(size)
	}
	if err == nil {
		err = file.Give(f, u.owner(h.Uid), u.owner(h.Gid), uint32(h.Mode))
	}
	return errors.Join(err, f.Close())
}

// copySparse writes a part of a file, chunks of zeros as holes, and tells where in the file
// what it wrote ends.
func (u *Unpacker) copySparse(f *os.File, body io.Reader, part file.Segment) (end int64, err error) {
	if u.buf == nil {
		u.buf = make([]byte, chunk)
	}
	for at := part.At; at < part.At+part.Len; {
		n, err := io.ReadFull(body, u.buf[:min(chunk, part.At+part.Len-at)])
		if err != nil {
			return end, fmt.Errorf("archive: %w", err)
		}
		if !zero(u.buf[:n]) {
			if _, err := f.WriteAt(u.buf[:n], at); err != nil {
				return end, err
			}
			end = at + int64(n)
			if err := u.written(int64(n)); err != nil {
				return end, err
			}
		}
		at += int64(n)
	}
	return end, nil
}

func zero(b []byte) bool {
	for len(b) >= 8 && binary.LittleEndian.Uint64(b) == 0 {
		b = b[8:]
	}
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	return len(b) == 0
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
