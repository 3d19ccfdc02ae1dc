package host_test

import (
	"os"
	"path/filepath"
	"testing"

	"vserver/daemon"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
)

// TestMain makes the test's own program vserverd as well: a start launches it from
// /proc/self/exe.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == proto.Program {
		os.Exit(daemon.Main(os.Args, guest.Dirs{}))
	}
	need.Main(m)
}
