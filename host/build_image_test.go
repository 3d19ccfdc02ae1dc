package host

import (
	"context"
	"errors"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/pool"
)

// TestPrivateImage builds from a source whose files are one system's: the image goes
// with the last guest that has it.
func TestPrivateImage(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	src := tiny()
	src.Name = func(context.Context) (string, error) { return "", nil }
	src.Cache, src.Moves = false, true
	for range 2 {
		if err := h.Build(t.Context(), "web1", &guest.Spec{}, src, BuildOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := h.Clone(t.Context(), "web1", "web2", nil, CloneOptions{}); err != nil {
			t.Fatal(err)
		}
		for i, n := range []guest.Name{"web1", "web2"} {
			if err := h.Delete(t.Context(), n, DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			images, err := pool.Open(h.Dirs.Pool()).List()
			if err != nil || len(images) != 1-i {
				t.Errorf("after %s: %v, %v", n, images, err)
			}
		}
	}
	left(t, h)
}

// TestFresh makes an image again that is there.
func TestFresh(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	for i, n := range []guest.Name{"web1", "web2"} {
		if err := h.Build(t.Context(), n, &guest.Spec{}, tiny(), BuildOptions{Fresh: true}); err != nil {
			t.Fatal(err)
		}
		images, err := pool.Open(h.Dirs.Pool()).List()
		if err != nil || len(images) != i+1 {
			t.Errorf("%v, %v", images, err)
		}
	}
}

func TestImages(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{})
	list, err := Images(h)
	if err != nil || len(list) != 1 || list[0].Name != "tiny" || len(list[0].Guests) != 1 || list[0].Method != "tiny" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := RemoveImage(h, "tiny"); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("remove of a guest's image: %v", err)
	}
	if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := RemoveImage(h, "tiny"); err != nil {
		t.Error(err)
	}
	if list, err := Images(h); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
