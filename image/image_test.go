package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"vserver/archive"
	"vserver/guest"
	"vserver/imagetool"
	"vserver/internal/need"
)

// TestMain is vserver-image as well, when it is called by that name.
func TestMain(m *testing.M) {
	if os.Args[0] == "vserver-image" {
		err := imagetool.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(imagetool.Code(err))
	}
	need.Main(m)
}

func tarOf(t *testing.T, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[i+1])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// testImage has two layers, the second taking one of the first's files away.
func testImage(t *testing.T) v1.Image {
	t.Helper()
	img := empty.Image
	for _, text := range [][]byte{
		tarOf(t, "etc/one", "1", "etc/gone", "x"),
		tarOf(t, "etc/two", "2", "etc/.wh.gone", ""),
	} {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c.OS, c.Architecture = "linux", runtime.GOARCH
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return img
}

func unpack(t *testing.T, from From) (dir string, err error) {
	t.Helper()
	from.Tool.Path = os.Args[0]
	i := Open(from)
	if _, _, err := i.ID(t.Context()); err != nil {
		return "", err
	}
	dir = filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err = i.Unpack(t.Context(), dir, t.Logf)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "layout-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	return dir, err
}

func checkImage(t *testing.T, dir string, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"etc/one": "1", "etc/two": "2"} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "etc/gone")); err == nil {
		t.Error("etc/gone is there")
	}
}

func writeLayout(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	p, err := ocilayout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(testImage(t)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLayout(t *testing.T) {
	need.Root(t)
	dir := writeLayout(t)
	out, err := unpack(t, From{Path: dir})
	checkImage(t, out, err)

	packed := filepath.Join(t.TempDir(), "oci.tar.gz")
	if text, err := exec.Command("tar", "czf", packed, "-C", dir, ".").CombinedOutput(); err != nil {
		t.Fatal(string(text))
	}
	out, err = unpack(t, From{Path: packed})
	checkImage(t, out, err)
}

func TestDockerSave(t *testing.T) {
	need.Root(t)
	ref, err := name.NewTag("test/image:1")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "saved.tar")
	if err := tarball.WriteToFile(file, ref, testImage(t)); err != nil {
		t.Fatal(err)
	}
	out, err := unpack(t, From{Path: file})
	checkImage(t, out, err)
}

func TestCompressed(t *testing.T) {
	need.Root(t)
	plain := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(plain, tarOf(t, "etc/one", "1", "etc/two", "2"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := unpack(t, From{Path: plain})
	checkImage(t, out, err)
	for _, c := range []string{"gzip", "xz", "zstd", "bzip2"} {
		t.Run(c, func(t *testing.T) {
			text, err := exec.Command(need.Command(t, c), "-c", plain).Output()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "root.packed")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := unpack(t, From{Path: file})
			checkImage(t, out, err)
			if err := os.WriteFile(file, text[:len(text)-9], 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := unpack(t, From{Path: file}); err == nil {
				t.Error("a stream that was cut was taken for whole")
			}
		})
	}
	odd := filepath.Join(t.TempDir(), "odd")
	for _, text := range []string{"", "PK\x03\x04zip", strings.Repeat("x", 4096)} {
		if err := os.WriteFile(odd, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(t, From{Path: odd}); err == nil {
			t.Errorf("%.10q was taken for an archive", text)
		}
	}
	for _, path := range []string{"/dev/zero", "/proc/self/fd", filepath.Join(t.TempDir(), "none")} {
		if _, err := unpack(t, From{Path: path}); err == nil {
			t.Errorf("%s was taken for an archive", path)
		}
	}
}

// TestForged changes one file of a layout at a time: each must be noticed.
func TestForged(t *testing.T) {
	need.Root(t)
	blobs, err := filepath.Glob(filepath.Join(writeLayout(t), "blobs/sha256/*"))
	if err != nil || len(blobs) != 4 {
		t.Fatal(blobs, err)
	}
	for i := range blobs {
		dir := writeLayout(t) // the same names each time
		blob := filepath.Join(dir, "blobs/sha256", filepath.Base(blobs[i]))
		text, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		for what, forged := range map[string][]byte{
			"changed":  append(bytes.Clone(text[:len(text)-1]), text[len(text)-1]^1),
			"extended": append(bytes.Clone(text), ' '),
			"empty":    {},
			"another":  tarOf(t, "etc/evil", "x"),
		} {
			if err := os.WriteFile(blob, forged, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := unpack(t, From{Path: dir}); err == nil {
				t.Errorf("%s: %s was taken", filepath.Base(blob)[:12], what)
			}
		}
		os.Remove(blob)
		if err := os.Symlink("/etc/passwd", blob); err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(t, From{Path: dir}); err == nil {
			t.Error("a link in the place of a file was followed")
		}
	}
}

// TestHostileJSON writes indexes and manifests that lead astray.
func TestHostileJSON(t *testing.T) {
	need.Root(t)
	zeros := "sha256:" + strings.Repeat("0", 64)
	index := func(d any) string {
		b, err := json.Marshal(map[string]any{"manifests": []any{d}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for what, files := range map[string]map[string]string{
		"no index":            {},
		"no JSON":             {"index.json": "{"},
		"no manifests":        {"index.json": "{}"},
		"null":                {"index.json": "null"},
		"digest with a path":  {"index.json": index(map[string]string{"digest": "sha256:../../../../etc/passwd"})},
		"digest short":        {"index.json": index(map[string]string{"digest": "sha256:00"})},
		"digest of md5":       {"index.json": index(map[string]string{"digest": "md5:00"})},
		"digest in capitals":  {"index.json": index(map[string]string{"digest": "sha256:" + strings.Repeat("A", 64)})},
		"blob missing":        {"index.json": index(map[string]string{"digest": zeros})},
		"huge":                {"index.json": index(map[string]string{"x": strings.Repeat("x", maxJSON)})},
		"save: config out":    {"manifest.json": `[{"Config":"../../etc/passwd","Layers":["l"]}]`},
		"save: config abs":    {"manifest.json": `[{"Config":"/etc/passwd","Layers":["l"]}]`},
		"save: none":          {"manifest.json": `[]`},
		"save: two":           {"manifest.json": `[{},{}]`},
		"save: layers differ": {"manifest.json": `[{"Config":"c","Layers":["l","m"]}]`, "c": `{"rootfs":{"diff_ids":["` + zeros + `"]}}`},
		"save: layer out":     {"manifest.json": `[{"Config":"c","Layers":["../l"]}]`, "c": `{"rootfs":{"diff_ids":["` + zeros + `"]}}`},
		"save: layer forged":  {"manifest.json": `[{"Config":"c","Layers":["l"]}]`, "c": `{"rootfs":{"diff_ids":["` + zeros + `"]}}`, "l": string(tarOf(t, "f", ""))},
		"save: no layers":     {"manifest.json": `[{"Config":"c"}]`, "c": `{}`},
	} {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := unpack(t, From{Path: dir}); err == nil {
			t.Errorf("%s: was taken", what)
		}
	}
}

func TestChangedMeanwhile(t *testing.T) {
	need.Root(t)
	file := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(file, tarOf(t, "f", "1"), 0o600); err != nil {
		t.Fatal(err)
	}
	i := Open(From{Path: file, Tool: Tool{Path: os.Args[0]}})
	if _, _, err := i.ID(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, tarOf(t, "f", "2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.Unpack(t.Context(), t.TempDir(), t.Logf); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("got %v", err)
	}
}

func TestHostileInside(t *testing.T) {
	need.Root(t)
	file := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(file, tarOf(t, "../evil", "1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(t, From{Path: file}); !errors.Is(err, archive.ErrHostile) {
		t.Errorf("got %v", err)
	}
}

// TestNobody has the tool say who it is: decoders must not run as root.
func TestNobody(t *testing.T) {
	need.Root(t)
	c, err := start(t.Context(), Tool{Path: need.Command(t, "sh")}, strings.NewReader("id -u; id -G; pwd; umask >/dev/null; echo bad news >&2; exit 3"), nobody)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != "65534\n65534\n/\n" {
		t.Errorf("got %q", text)
	}
	if err := c.end(nil); err == nil || !strings.Contains(err.Error(), "bad news") {
		t.Errorf("end: %v", err)
	}
}

// TestNoLayout names the directory that is no image.
func TestNoLayout(t *testing.T) {
	dir := t.TempDir()
	_, _, err := (&Image{From: From{Path: dir}}).ID(t.Context())
	if !errors.Is(err, guest.ErrInvalid) || !strings.HasPrefix(err.Error(), dir+": no OCI image: ") {
		t.Error(err)
	}
}

func TestMeant(t *testing.T) {
	for word, ref := range map[string]bool{
		"debian:bookworm": true, "registry.example/a/b@sha256:00": true, "localhost:5000/x": true,
		"/srv/root.tar": false, "./root": false, "root.tar.gz": false, "../x": false, "root.tar": false,
	} {
		if got := Meant(word); (got.Ref != "") != ref || got.Ref+got.Path != word {
			t.Errorf("%s: %+v", word, got)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(`{"manifests":[{"digest":"sha256:00"}]}`, `[{"Config":"c","Layers":["l"]}]`)
	f.Fuzz(func(t *testing.T, index, saved string) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o644)
		Open(From{Path: dir}).ID(t.Context())
		os.Remove(filepath.Join(dir, "index.json"))
		os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(saved), 0o644)
		Open(From{Path: dir}).ID(t.Context())
	})
}

func TestZip(t *testing.T) {
	text := tarOf(t, "f", strings.Repeat("all work and no play ", 20000))
	var packed bytes.Buffer
	fill := func(w io.Writer) error { _, err := w.Write(text); return err }
	if err := Zip(t.Context(), Tool{Path: os.Args[0]}, "zstd", 0, &packed, fill); err != nil || packed.Len() > len(text)/10 {
		t.Fatalf("%d bytes, %v", packed.Len(), err)
	}
	broken := errors.New("broken")
	if err := Zip(t.Context(), Tool{Path: os.Args[0]}, "zstd", 0, io.Discard, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a source that breaks: %v", err)
	}
	if err := Zip(t.Context(), Tool{Path: os.Args[0]}, "rot13", 0, io.Discard, fill); err == nil || !strings.Contains(err.Error(), "rot13") {
		t.Errorf("an unknown kind: %v", err)
	}
	r, w := io.Pipe()
	r.CloseWithError(broken)
	endless := func(w io.Writer) (err error) {
		for noise := uint32(1); err == nil; noise = noise*1664525 + 1013904223 {
			_, err = w.Write([]byte(strconv.Itoa(int(noise))))
		}
		return err
	}
	if err := Zip(t.Context(), Tool{Path: os.Args[0]}, "gzip", 0, w, endless); !errors.Is(err, broken) {
		t.Errorf("a reader that is gone: %v", err)
	}
}
