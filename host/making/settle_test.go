package making

import (
	"os"
	"testing"

	"vserver/internal/need"
	"vserver/kernel/file"
)

func TestMain(m *testing.M) { need.Main(m) }

// TestLeftMeanwhile finds what somebody left who was killed while others waited for the
// guest's lock, when settle had passed over him.
func TestLeftMeanwhile(t *testing.T) {
	need.Root(t)
	d := need.Dirs(t)
	if err := os.MkdirAll(staging(d, "web1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(d.Guest("web1"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := locked(d, "web1", func() error {
		for _, left := range []string{staging(d, "web1"), d.Guest("web1")} {
			if there, err := file.Exists(left); there || err != nil {
				t.Errorf("%s is there, %v", left, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
