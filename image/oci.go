package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"vserver/archive"
	"vserver/guest"
	"vserver/kernel/file"
)

// layout is a directory with an image in the OCI layout, or as `docker save` writes it.
// Its files are hostile.
type layout struct {
	d    *file.Dir
	arch string // the machine, of several
}

// maxJSON is the largest index, manifest or configuration that is read, in bytes: what
// registries allow.
const maxJSON = 4 << 20

// maxLayers is how many layers an image may have: what the overlay of the usual tools
// can mount is far less.
const maxLayers = 1000

// manifest is what is needed to unpack an image: the layers' files and what they must
// hold, bottom first.
type manifest struct {
	digest string // of the manifest; "" for docker save
	says   Config
	layers []layerFile
}

type layerFile struct {
	path   string // in the layout
	digest string // of the file; "" when nothing says it
	diffID string // of the unpacked stream
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Platform  *struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

// Config is what an image says is to be run in it.
type Config struct {
	Entrypoint, Cmd, Env []string
	WorkingDir, User     string
	StopSignal           string // its name
}

// Config gives what the image says is to be run in it, once it is unpacked: nothing for
// an archive of a mere root.
func (t *Image) Config() Config { return t.says }

type imageConfig struct {
	Config Config `json:"config"`
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// checkDigest takes a digest that is safe as the name of a file.
func checkDigest(s string) (string, error) {
	hexPart, ok := strings.CutPrefix(s, "sha256:")
	raw, err := hex.DecodeString(hexPart)
	if !ok || err != nil || len(raw) != sha256.Size || strings.ToLower(hexPart) != hexPart {
		return "", fmt.Errorf("digest %.80q: want sha256: and 64 hexadecimal digits: %w", s, guest.ErrInvalid)
	}
	return s, nil
}

func blobPath(digest string) string {
	return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:")
}

// open opens a file of the layout.
func (l layout) open(p string) (*os.File, error) {
	if path.IsAbs(p) || p != path.Clean(p) {
		return nil, fmt.Errorf("image: path %.200q: %w", p, archive.ErrHostile)
	}
	d, name, err := l.d.Parent(p)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Open(name, os.O_RDONLY, 0)
}

// json reads a small file, whose digest is checked unless it is "".
func (l layout) json(p, digest string, to any) error {
	f, err := l.open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	switch {
	case len(text) > maxJSON:
		err = fmt.Errorf("more than %d bytes: %w", maxJSON, archive.ErrHostile)
	case digest != "" && digest != "sha256:"+hex.EncodeToString(sum[:]):
		err = fmt.Errorf("is not what its digest says: %w", archive.ErrHostile)
	default:
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		return fmt.Errorf("image: %s: %w", p, err)
	}
	return nil
}

// manifest finds the image for the machine.
func (l layout) manifest() (manifest, error) {
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	err := l.json("index.json", "", &index)
	if errors.Is(err, os.ErrNotExist) {
		return l.dockerSave()
	}
	if err != nil {
		return manifest{}, err
	}
	for range 4 { // an index may lead to another
		chosen, err := choose(index.Manifests, l.arch)
		if err != nil {
			return manifest{}, err
		}
		if !isIndex(chosen.MediaType) {
			return l.read(chosen.Digest)
		}
		index.Manifests = nil
		if err := l.json(blobPath(chosen.Digest), chosen.Digest, &index); err != nil {
			return manifest{}, err
		}
	}
	return manifest{}, fmt.Errorf("image: index in index in index: %w", archive.ErrHostile)
}

func isIndex(mediaType string) bool {
	return mediaType == "application/vnd.oci.image.index.v1+json" ||
		mediaType == "application/vnd.docker.distribution.manifest.list.v2+json"
}

// choose takes the manifest for a machine, or the only one that says nothing of
// machines.
func choose(list []descriptor, arch string) (descriptor, error) {
	var plain []descriptor
	for _, d := range list {
		if d.Platform == nil {
			plain = append(plain, d)
			continue
		}
		if d.Platform.OS == "linux" && d.Platform.Architecture == arch {
			_, err := checkDigest(d.Digest)
			return d, err
		}
	}
	if len(plain) != 1 {
		return descriptor{}, fmt.Errorf("image: %d manifests, none for linux/%s: %w", len(list), arch, guest.ErrInvalid)
	}
	_, err := checkDigest(plain[0].Digest)
	return plain[0], err
}

func (l layout) read(digest string) (manifest, error) {
	var m struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := l.json(blobPath(digest), digest, &m); err != nil {
		return manifest{}, err
	}
	if _, err := checkDigest(m.Config.Digest); err != nil {
		return manifest{}, err
	}
	var c imageConfig
	if err := l.json(blobPath(m.Config.Digest), m.Config.Digest, &c); err != nil {
		return manifest{}, err
	}
	out := manifest{digest: digest, says: c.Config}
	for _, d := range m.Layers {
		if _, err := checkDigest(d.Digest); err != nil {
			return manifest{}, err
		}
		out.layers = append(out.layers, layerFile{path: blobPath(d.Digest), digest: d.Digest})
	}
	return out, out.diffIDs(c)
}

// diffIDs takes over what the configuration says that the layers unpack to.
func (m *manifest) diffIDs(c imageConfig) error {
	ids := c.RootFS.DiffIDs
	if len(ids) != len(m.layers) || len(ids) == 0 || len(ids) > maxLayers {
		return fmt.Errorf("image: %d layers, %d diff_ids: %w", len(m.layers), len(ids), archive.ErrHostile)
	}
	for i, id := range ids {
		if _, err := checkDigest(id); err != nil {
			return err
		}
		m.layers[i].diffID = id
	}
	return nil
}

// dockerSave reads the manifest that `docker save` writes.
func (l layout) dockerSave() (manifest, error) {
	var list []struct {
		Config string
		Layers []string
	}
	err := l.json("manifest.json", "", &list)
	if errors.Is(err, os.ErrNotExist) {
		return manifest{}, fmt.Errorf("no OCI image: neither index.json nor manifest.json is there: %w", guest.ErrInvalid)
	}
	if err != nil {
		return manifest{}, err
	}
	if len(list) != 1 {
		return manifest{}, fmt.Errorf("image: %d images in one archive, want 1: %w", len(list), guest.ErrInvalid)
	}
	var c imageConfig
	if err := l.json(list[0].Config, "", &c); err != nil {
		return manifest{}, err
	}
	out := manifest{says: c.Config}
	for _, p := range list[0].Layers {
		out.layers = append(out.layers, layerFile{path: p})
	}
	return out, out.diffIDs(c)
}

// layoutDir unpacks the image of a layout, whose manifest must have the digest unless
// that is "".
func (t *Image) layoutDir(ctx context.Context, u *Unpacker, dir, digest string, say func(string, ...any)) error {
	d, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	l := layout{d, t.arch()}
	m, err := l.manifest()
	if err != nil {
		return err
	}
	if digest != "" && m.digest != digest {
		return fmt.Errorf("image: manifest %s instead of %s: %w", m.digest, digest, archive.ErrHostile)
	}
	t.says = m.says
	for i, f := range m.layers {
		say("unpack layer %d of %d", i+1, len(m.layers))
		if err := t.layer(ctx, u, l, f); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return nil
}

// layer unpacks one layer, and checks it on both sides of the decoder.
func (t *Image) layer(ctx context.Context, u *Unpacker, l layout, f layerFile) error {
	in, err := l.open(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	packed, plain := sha256.New(), sha256.New()
	err = t.unzip(ctx, u, io.TeeReader(in, packed), plain, func(_ *bufio.Reader, s *Stream) error { return u.Layer(ctx, s) })
	if err != nil {
		return err
	}
	if _, err := io.Copy(packed, in); err != nil {
		return err
	}
	for _, c := range []struct {
		want string
		got  []byte
	}{{f.digest, packed.Sum(nil)}, {f.diffID, plain.Sum(nil)}} {
		if c.want != "" && c.want != "sha256:"+hex.EncodeToString(c.got) {
			return fmt.Errorf("%s: is not what its digest %s says: %w", f.path, c.want, archive.ErrHostile)
		}
	}
	return nil
}
