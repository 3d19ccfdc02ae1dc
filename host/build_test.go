package host

import (
	"context"
	"testing"

	"vserver/build"
	"vserver/guest"
	"vserver/internal/need"
)

func TestBuildHost(t *testing.T) {
	need.Root(t)
	d := need.Dirs(t)
	h := Open(d)
	var spec guest.Spec
	if err := h.Build(context.Background(), "web1", &spec, build.Host("/"), BuildOptions{Progress: t.Output()}); err != nil {
		t.Fatal(err)
	}
}
