package registry

import (
	"net/http"
	"strings"
	"testing"
)

// The library would ask a registry of a private network in plain text.
func TestEncrypted(t *testing.T) {
	for ref, refused := range map[string]bool{
		"10.0.0.1:1/app": true, "192.168.1.1:1/app:1": true, "registry.local:1/app": true,
		"http://10.0.0.1:2/app": true, // another server than the one that was asked for
		"127.0.0.1:1/app":       false, "http://127.0.0.1:1/app": false,
	} {
		r, way, err := parse(ref)
		if err != nil {
			t.Fatal(err)
		}
		at := "http://" + r.Context().RegistryStr() + "/v2/"
		if strings.HasSuffix(ref, ":2/app") {
			at = "http://10.0.0.1:1/v2/"
		}
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = way.RoundTrip(q) // nobody listens there
		if got := err != nil && strings.Contains(err.Error(), "plain http"); got != refused {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
