package image

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"vserver/fault"
	"vserver/internal/need"
)

func TestRegistry(t *testing.T) {
	need.Root(t)
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer s.Close()
	word := strings.TrimPrefix(s.URL, "http://") + "/team/app:v1"
	ref, err := name.ParseReference(word)
	if err != nil {
		t.Fatal(err)
	}
	img := testImage(t)
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	out, err := unpack(t, From{Ref: word})
	checkImage(t, out, err)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	out, err = unpack(t, From{Ref: strings.TrimSuffix(word, ":v1") + "@" + digest.String()})
	checkImage(t, out, err)
	out, err = unpack(t, From{Ref: "http://" + word})
	checkImage(t, out, err)
	wrong := strings.TrimSuffix(word, ":v1") + "@sha256:" + strings.Repeat("0", 64)
	if _, err := unpack(t, From{Ref: wrong}); err == nil || !strings.Contains(err.Error(), "MANIFEST_UNKNOWN") {
		t.Errorf("another digest: %v", err)
	}
	if _, err := unpack(t, From{Ref: word + "-missing"}); err == nil || !strings.Contains(err.Error(), "vserver-image") {
		t.Errorf("missing image: %v", err)
	}
	for _, odd := range []string{"-oProxy", "--help", "a b", "../x", "\n", ""} {
		if _, err := unpack(t, From{Ref: odd}); err == nil {
			t.Errorf("reference %q was taken", odd)
		}
	}
}

// What a registry says elsewhere is not fetched for all on the way to see.
func TestSentElsewhere(t *testing.T) {
	need.Root(t)
	r := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
			http.Redirect(w, q, "http://192.0.2.1"+q.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		r.ServeHTTP(w, q)
	}))
	defer s.Close()
	word := strings.TrimPrefix(s.URL, "http://") + "/app:v1"
	ref, err := name.ParseReference(word)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, testImage(t)); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{word, "http://" + word} {
		if _, err := unpack(t, From{Ref: word}); err == nil || !strings.Contains(err.Error(), "plain http") {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// TestLogin has a registry that wants a login, which is in a file that nobody cannot read.
func TestLogin(t *testing.T) {
	need.Root(t)
	r := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if user, word, _ := q.BasicAuth(); user != "me" || word != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.ServeHTTP(w, q)
	}))
	defer s.Close()
	at := strings.TrimPrefix(s.URL, "http://")
	ref, err := name.ParseReference(at + "/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	login := authn.FromConfig(authn.AuthConfig{Username: "me", Password: "secret"})
	if err := remote.Write(ref, testImage(t), remote.WithAuth(login)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	if _, err := unpack(t, From{Ref: at + "/app:v1"}); err == nil || !strings.Contains(err.Error(), "401") ||
		!strings.Contains(fault.HintOf(err), "docker login") {
		t.Errorf("without a login: %v, hint %q", err, fault.HintOf(err))
	}
	// "me:secret", as docker login writes it, beside another registry's.
	text := `{"auths": {"` + at + `": {"auth": "bWU6c2VjcmV0"}, "other.example": {"auth": "eDp5"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := unpack(t, From{Ref: at + "/app:v1"})
	checkImage(t, out, err)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(t, From{Ref: at + "/app:v1"}); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "config.json")+": ") {
		t.Errorf("with a broken file: %v", err)
	}
}
