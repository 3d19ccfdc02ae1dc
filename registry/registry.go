// Package registry fetches images from registries of containers, as an archive of the
// OCI image layout.
//
// It is linked into vserver-image alone (see package codec for why).
package registry

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Reference finds the image that ref ("debian:bookworm", "registry.example/app@sha256:…",
// "http://registry.lan:5000/app:1") names for this platform ("linux/amd64", "linux/arm/v7"). login is what Login gave; ""
// is nobody.
func Reference(ctx context.Context, ref, platform string, login []byte) (v1.Image, error) {
	r, way, err := parse(ref)
	if err != nil {
		return nil, err
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	auth := authn.Anonymous
	if len(login) > 0 {
		var c authn.AuthConfig
		if err := json.Unmarshal(login, &c); err != nil {
			return nil, fmt.Errorf("login: %w", err)
		}
		auth = authn.FromConfig(c)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithPlatform(*p), remote.WithAuth(auth), remote.WithTransport(way)}
	d, err := remote.Get(r, options...)
	if err != nil {
		return nil, err
	}
	img, err := d.Image()
	if err != nil && d.MediaType.IsIndex() {
		return nil, among(d, *p, err)
	}
	return img, err
}

// among says for what machines there are images where there is none for p, why being the
// library's word.
func among(d *remote.Descriptor, p v1.Platform, why error) error {
	index, err := d.ImageIndex()
	if err != nil {
		return why
	}
	m, err := index.IndexManifest()
	if err != nil {
		return why
	}
	var there []string
	for _, d := range m.Manifests {
		switch {
		case d.Platform == nil:
		case d.Platform.Satisfies(p):
			return why
		default:
			there = append(there, d.Platform.String())
		}
	}
	return fmt.Errorf("is not for %s, but for %s", p, strings.Join(there, ", "))
}

// Refused tells whether err is a registry's that wants another login, or any.
func Refused(err error) bool {
	var e *transport.Error
	return errors.As(err, &e) && (e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden)
}

// parse reads a reference, and gives the way to its registry. http:// before it asks for one
// that is not encrypted.
func parse(ref string) (name.Reference, http.RoundTripper, error) {
	at, plain := strings.CutPrefix(ref, "http://")
	if !plain {
		r, err := name.ParseReference(at)
		return r, encrypted{}, err
	}
	r, err := name.ParseReference(at, name.Insecure)
	if err != nil {
		return nil, nil, err
	}
	return r, encrypted{but: r.Context().RegistryStr()}, nil
}

// encrypted refuses what would go to another machine for anybody on the way to read and to
// change: the library takes registries of private networks for such unasked, and goes where
// a registry sends it.
type encrypted struct {
	but string // host and port that was asked for
}

// RoundTrip asks a server.
func (e encrypted) RoundTrip(q *http.Request) (*http.Response, error) {
	if at := q.URL; at.Scheme != "https" && at.Host != e.but && !here(at.Hostname()) {
		return nil, fmt.Errorf("plain http, which only http://%s/… asks for", at.Host)
	}
	return remote.DefaultTransport.RoundTrip(q)
}

// here tells whether a host is this machine.
func here(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Archive writes an image as a tar archive of the OCI image layout. Digests are checked
// while it is fetched; whoever reads the archive checks them again.
func Archive(w io.Writer, img v1.Image) error {
	t := tar.NewWriter(w)
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	kind, err := img.MediaType()
	if err != nil {
		return err
	}
	index, err := json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		Manifests:     []v1.Descriptor{{MediaType: kind, Size: int64(len(manifest)), Digest: digest}},
	})
	if err != nil {
		return err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	name, err := img.ConfigName()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		path string
		text []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
		{blob(digest), manifest},
		{blob(name), config},
	} {
		if err := add(t, f.path, int64(len(f.text))); err != nil {
			return err
		}
		if _, err := t.Write(f.text); err != nil {
			return err
		}
	}
	if err := layers(t, img); err != nil {
		return err
	}
	return t.Close()
}

func layers(t *tar.Writer, img v1.Image) error {
	ls, err := img.Layers()
	if err != nil {
		return err
	}
	seen := map[v1.Hash]bool{}
	for _, l := range ls {
		digest, err := l.Digest()
		if err != nil {
			return err
		}
		if seen[digest] {
			continue
		}
		seen[digest] = true
		if err := layer(t, l, digest); err != nil {
			return fmt.Errorf("layer %s: %w", digest, err)
		}
	}
	return nil
}

func layer(t *tar.Writer, l v1.Layer, digest v1.Hash) error {
	size, err := l.Size()
	if err != nil {
		return err
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := add(t, blob(digest), size); err != nil {
		return err
	}
	_, err = io.Copy(t, r)
	return err
}

func blob(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

func add(t *tar.Writer, path string, size int64) error {
	return t.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o644, Size: size})
}
