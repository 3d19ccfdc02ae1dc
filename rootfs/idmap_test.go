package rootfs

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"vserver/fault"
)

// A file system that shows no other ids is told from other reasons.
func TestNoIDs(t *testing.T) {
	if err := noIDs("/usr", Owner{Userns: 3}, syscall.EINVAL); !errors.Is(err, syscall.EINVAL) ||
		!strings.Contains(fault.HintOf(err), "--root dir") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	for _, other := range []error{syscall.EPERM, syscall.ENOENT} {
		if err := noIDs("/usr", Owner{Userns: 3}, other); fault.HintOf(err) != "" || !errors.Is(err, other) {
			t.Errorf("%v", err)
		}
	}
}
