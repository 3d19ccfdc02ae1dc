package host

import (
	"errors"
	"os"
	"testing"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
)

// TestDeleteLeftovers deletes a guest whose spec somebody removed by hand.
func TestDeleteLeftovers(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{})
	if err := os.Remove(h.Dirs.Spec("web1")); err != nil {
		t.Fatal(err)
	}
	err := h.Build(t.Context(), "web1", &guest.Spec{}, tiny(), BuildOptions{})
	if !errors.Is(err, guest.ErrExists) || fault.HintOf(err) != "vserver web1 delete" {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := h.Delete(t.Context(), "web1", DeleteOptions{}); !errors.Is(err, guest.ErrNotFound) {
		t.Error(err)
	}
	left(t, h)
}

// TestDeleteNonsense deletes a guest whose spec cannot be read.
func TestDeleteNonsense(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{})
	if err := os.WriteFile(h.Dirs.Spec("web1"), []byte("xid: [nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Error(err)
	}
	left(t, h)
}

func TestRenameRefuses(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{})
	mustBuild(t, h, "web2", guest.Spec{})
	for _, c := range []struct {
		from, to guest.Name
		want     error
	}{{"web1", "web2", guest.ErrExists}, {"web1", "web1", guest.ErrExists}, {"no", "web3", guest.ErrNotFound}} {
		if err := h.Rename(t.Context(), c.from, c.to); !errors.Is(err, c.want) {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
}
