// Package image unpacks the roots that strangers made: tar archives, OCI images as
// archives or directories, images of registries. Everything in them is hostile: what
// decodes and what speaks to the network runs in a process of its own as nobody (the
// program vserver-image), digests are checked on both sides of it, and what writes the files
// (package archive) does so in another, which has nothing of the host but their directory.
package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"vserver/archive"
	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
)

// From is what to unpack: one of Path and Ref.
type From struct {
	// Path is a tar archive of a root, plain or compressed by gzip, xz, zstd or bzip2; an
	// archive that `docker save` or `skopeo copy … oci-archive:` made; or a directory with
	// an OCI image layout.
	Path string
	// File is such an archive that is open already, and begins at its start; Path says
	// only what it is called then.
	File io.ReaderAt
	// Ref is an image of a registry, as debian:bookworm or registry.example/app@sha256:…;
	// http://registry.lan:5000/app of one that has no https.
	Ref string
	// Arch is the machine that an image of several is taken for, by the Go language's
	// names; "" is this one.
	Arch string
	// Tool is the program that decodes and unpacks.
	Tool Tool
}

// Meant tells a path from a reference: a path is what is there, or looks like one.
func Meant(word string) From {
	if ref, ok := strings.CutPrefix(word, "docker://"); ok { // as skopeo and podman have it
		return From{Ref: ref}
	}
	_, err := os.Lstat(word)
	if err == nil || strings.HasPrefix(word, "/") || strings.HasPrefix(word, ".") || strings.HasSuffix(word, ".tar") ||
		strings.Contains(path.Base(word), ".tar.") {
		return From{Path: word}
	}
	return From{Ref: word}
}

// Image is one image or archive that is unpacked.
type Image struct {
	From
	sum    string       // of the archive, once ID was asked
	says   Config       // once it is unpacked
	packed atomic.Int64 // bytes of packed streams read so far
}

// Open gives the image. It touches nothing.
func Open(from From) *Image { return &Image{From: from} }

// arch is the machine that the image is wanted for.
func (f From) arch() string { return cmp.Or(f.Arch, runtime.GOARCH) }

func (f From) platform() string { return "linux/" + f.arch() }

// ID gives a word for people, and a text that two images have in common only when their
// files are the same: the digest of an image, the sum of an archive.
func (t *Image) ID(ctx context.Context) (word, id string, err error) {
	if (t.Path == "") == (t.Ref == "") {
		return "", "", fmt.Errorf("template: want a path or a reference: %w", guest.ErrInvalid)
	}
	if t.Ref != "" {
		id, err = t.digest(ctx)
		return path.Base(t.Ref), id, err
	}
	word = filepath.Base(filepath.Clean(t.Path))
	if is, err := t.isDir(); err != nil {
		return "", "", err
	} else if is {
		d, err := file.OpenDir(t.Path)
		if err != nil {
			return "", "", err
		}
		defer d.Close()
		m, err := layout{d, t.arch()}.manifest()
		if err != nil {
			err = fmt.Errorf("%s: %w", t.Path, err)
		}
		return word, m.digest, err
	}
	f, err := t.open()
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	word, _, _ = strings.Cut(word, ".tar")
	t.sum = hex.EncodeToString(h.Sum(nil))
	return word, t.sum, err
}

// isDir tells whether it is a directory, with an OCI layout.
func (t *Image) isDir() (bool, error) {
	if t.File != nil {
		return false, nil
	}
	st, err := os.Stat(t.Path)
	return err == nil && st.IsDir(), err
}

// open opens an archive at its start.
func (t *Image) open() (io.ReadCloser, error) {
	if t.File != nil {
		return io.NopCloser(io.NewSectionReader(t.File, 0, math.MaxInt64)), nil
	}
	return openArchive(t.Path)
}

// openArchive opens a regular file; for a fifo nobody waits.
func openArchive(p string) (*os.File, error) {
	d, err := file.OpenDir(filepath.Dir(p))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return nil, err
	}
	if real != p {
		return openArchive(real)
	}
	return d.Open(filepath.Base(p), os.O_RDONLY, 0)
}

// login gives the standard input for who speaks to the registry: by what to log in, as
// the caller's configuration of docker or podman has it.
func (t *Image) login(ctx context.Context) (io.Reader, error) {
	c, err := start(ctx, t.Tool, nil, caller, "login", t.Ref)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(c)
	if err = c.end(err); err != nil {
		return nil, fault.Hint(err, "`docker login` or `podman login` writes it anew")
	}
	return bytes.NewReader(text), nil
}

func (t *Image) digest(ctx context.Context) (string, error) {
	login, err := t.login(ctx)
	if err != nil {
		return "", err
	}
	c, err := start(ctx, t.Tool, login, nobody, "digest", t.Ref, t.platform())
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(c, 200))
	if err = c.end(err); err != nil {
		return "", err
	}
	return checkDigest(strings.TrimSpace(string(text)))
}

// Unpack puts the files into dir, which is empty, and says in lines what it does.
func (t *Image) Unpack(ctx context.Context, dir string, say func(string, ...any)) error {
	root, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := NewUnpacker(t.Tool, root)
	if t.Ref != "" {
		err = t.pull(ctx, u, dir, say)
	} else if is, serr := t.isDir(); serr == nil && is {
		err = t.layoutDir(ctx, u, t.Path, "", say)
	} else {
		err = t.archive(ctx, u, dir, say)
	}
	if s := u.Report().String(); err == nil && s != "" {
		say("%s", s)
	}
	return err
}

// archive unpacks a file.
func (t *Image) archive(ctx context.Context, u *Unpacker, dir string, say func(string, ...any)) error {
	f, err := t.open()
	if err != nil {
		return err
	}
	defer f.Close()
	say("unpack %s", t.Path)
	h := sha256.New()
	err = t.unzip(ctx, u, io.TeeReader(f, h), nil, func(r *bufio.Reader, s *Stream) error {
		if !isImage(r) {
			return u.Tar(ctx, s)
		}
		return t.image(ctx, u, s, dir, "", say)
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(h, f)
	if err == nil && t.sum != "" && t.sum != hex.EncodeToString(h.Sum(nil)) {
		err = fmt.Errorf("%s: was changed meanwhile: %w", t.Path, guest.ErrBusy)
	}
	return err
}

// unzip gives do the unpacked stream of r, whose sum gets all of it. What do leaves of it
// must be little, and is read: at its end a decoder tells whether the stream was whole.
func (t *Image) unzip(ctx context.Context, u *Unpacker, r io.Reader, sum hash.Hash, do func(*bufio.Reader, *Stream) error) error {
	u.Packed = t.packed.Load
	in := bufio.NewReaderSize(&counting{r: r, n: &t.packed}, 64<<10)
	head, err := in.Peek(tarHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	all := func(r *bufio.Reader) error {
		s := NewStream(r, sum)
		if err := do(r, s); err != nil {
			return err
		}
		return drain(s)
	}
	if isTar(head) {
		return all(in)
	}
	c, err := start(ctx, t.Tool, in, nobody, "unzip")
	if err != nil {
		return err
	}
	return c.end(all(bufio.NewReaderSize(c, 64<<10)))
}

// A tar archive is told by the word ustar in its first header.
const (
	tarHead  = 512
	tarMagic = 257
)

func isTar(head []byte) bool {
	return len(head) == tarHead && bytes.HasPrefix(head[tarMagic:], []byte("ustar"))
}

// maxTail is how many bytes may follow the end of an archive: tar fills its blocks up,
// to at most this with the largest blocking factor in use.
const maxTail = 16 << 20

func drain(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxTail))
	if err == nil && n == maxTail {
		err = fmt.Errorf("archive: data behind its end: %w", archive.ErrHostile)
	}
	return err
}

// isImage tells whether a tar archive holds an image and not a root, by its first entry.
func isImage(r *bufio.Reader) bool {
	head, _ := r.Peek(16 << 10)
	t := tar.NewReader(bytes.NewReader(head))
	for {
		h, err := t.Next()
		if err != nil {
			return false
		}
		name := path.Clean(h.Name)
		if name == "." || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		first, _, _ := strings.Cut(name, "/")
		hexName, _, _ := strings.Cut(strings.TrimPrefix(first, "sha256:"), ".")
		_, herr := hex.DecodeString(hexName)
		return first == "blobs" || name == "oci-layout" || name == "index.json" || name == "manifest.json" ||
			name == "repositories" || len(hexName) == sha256.Size*2 && herr == nil
	}
}

// image unpacks an archive of an image beside dir, and from there the image.
func (t *Image) image(ctx context.Context, u *Unpacker, s *Stream, dir, digest string, say func(string, ...any)) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "layout-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	d, err := file.OpenDir(tmp)
	if err != nil {
		return err
	}
	defer d.Close()
	outer := NewUnpacker(t.Tool, d)
	outer.Limits, outer.Packed = u.Limits, u.Packed
	if err := outer.Tar(ctx, s); err != nil {
		return err
	}
	return t.layoutDir(ctx, u, tmp, digest, say)
}

// pull fetches an image from its registry.
func (t *Image) pull(ctx context.Context, u *Unpacker, dir string, say func(string, ...any)) error {
	digest, err := t.digest(ctx)
	if err != nil {
		return err
	}
	ref, _, _ := strings.Cut(t.Ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	say("fetch %s@%s", ref, digest)
	login, err := t.login(ctx)
	if err != nil {
		return err
	}
	c, err := start(ctx, t.Tool, login, nobody, "pull", ref+"@"+digest, t.platform())
	if err != nil {
		return err
	}
	s := NewStream(c, nil)
	err = t.image(ctx, u, s, dir, digest, say)
	if err == nil {
		err = drain(s)
	}
	return c.end(err)
}

// counting counts what is read.
type counting struct {
	r      io.Reader
	n      *atomic.Int64
	failed atomic.Pointer[error] // why it could not be read on, if not that it ended
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed.Store(&err)
	}
	return n, err
}
