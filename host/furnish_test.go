package host

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"vserver/guest"
	"vserver/host/making"
	"vserver/internal/need"
)

// A guest that its build completes once it is there is whole only then: it goes with a
// failure, and with the death of who was at it, and with nobody else's work meanwhile.
func TestFurnish(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	there := func(want bool) {
		t.Helper()
		if is := Exists(h, "web1"); is != want {
			t.Errorf("it is there: %v, want %v", is, want)
		}
	}
	build := func(furnish func(context.Context) error, keep bool) error {
		return h.Build(t.Context(), "web1", &guest.Spec{}, tiny(), BuildOptions{Furnish: furnish, Keep: keep})
	}
	settle := func() error { return making.Settle(h.Dirs) }
	odd := errors.New("odd")

	if err := build(func(context.Context) error { there(true); return odd }, false); !errors.Is(err, odd) {
		t.Error(err)
	}
	there(false)

	died := make(chan struct{})
	go func() {
		defer close(died)
		build(func(context.Context) error {
			if err := settle(); err != nil { // of somebody else
				t.Error(err)
			}
			there(true)
			runtime.Goexit() // no more is done than the kernel does for who was killed
			return nil
		}, false)
	}()
	<-died
	there(true)
	if err := settle(); err != nil {
		t.Error(err)
	}
	there(false)

	for _, keep := range []bool{true, false} {
		want := map[bool]error{true: odd}[keep]
		if err := build(func(context.Context) error { return want }, keep); !errors.Is(err, want) {
			t.Error(err)
		}
		if err := settle(); err != nil {
			t.Error(err)
		}
		there(true)
		if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
	left(t, h)
}
