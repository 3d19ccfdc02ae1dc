package registry

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestLogin has a login in each of the files of docker and podman, beside others without it.
func TestLogin(t *testing.T) {
	home := t.TempDir()
	for key, value := range map[string]string{
		"HOME": home, "DOCKER_CONFIG": "", "REGISTRY_AUTH_FILE": "", "XDG_RUNTIME_DIR": filepath.Join(home, "run"), "XDG_CONFIG_HOME": "",
	} {
		t.Setenv(key, value)
	}
	write := func(file, key, user string) {
		t.Helper()
		path := filepath.Join(home, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, key, base64.StdEncoding.EncodeToString([]byte(user+":secret")))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is := func(ref, user string) {
		t.Helper()
		got, err := Login(ref)
		if err != nil || (user == "") != (got == nil) || !strings.Contains(string(got), user) {
			t.Errorf("%s: %s, %v, want %q", ref, got, err, user)
		}
	}
	is("reg.example/a/b", "")
	write(".config/containers/auth.json", "reg.example", "config")
	is("reg.example/a/b", "config")
	write(".docker/config.json", "other.example", "docker")
	is("reg.example/a/b", "config")
	is("other.example/a", "docker")
	is("other.example:5000/a", "")
	write("run/containers/auth.json", "reg.example/a", "part")
	is("reg.example/a/b", "part")
	is("reg.example/ab", "config")
	write("run/containers/auth.json", "https://old.example/v1/", "old")
	is("old.example/a", "old")
	write("run/containers/auth.json", "docker.io", "largest")
	is("debian:bookworm", "largest")
	write(".docker/config.json", "https://index.docker.io/v1/", "docker")
	is("debian:bookworm", "docker")
	write("asked", "docker.io", "asked")
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(home, "asked"))
	is("debian:bookworm", "asked")
	bin := filepath.Join(home, "docker-credential-test")
	if err := os.WriteFile(bin, []byte("#!/bin/sh\necho '{\"Username\": \"helped\", \"Secret\": \"secret\"}'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "asked"), []byte(`{"auths": {"helped.example": {}}, "credHelpers": {"helped.example": "test"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", home+":"+os.Getenv("PATH"))
	is("helped.example/a", "helped")
	write("other/config.json", "reg.example", "other")
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, "other"))
	is("reg.example/a/b", "other")
	is("other.example/a", "")
}

// TestAmong: an image that is for other machines says for which.
func TestAmong(t *testing.T) {
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer s.Close()
	word := strings.TrimPrefix(s.URL, "http://") + "/app:v1"
	index := v1.ImageIndex(empty.Index)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(9, 1)
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	ref, err := name.ParseReference(word)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	if _, err := Reference(t.Context(), word, "linux/arm64", nil); err != nil {
		t.Error(err)
	}
	const want = "is not for linux/riscv64, but for linux/amd64, linux/arm64"
	if _, err := Reference(t.Context(), word, "linux/riscv64", nil); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
