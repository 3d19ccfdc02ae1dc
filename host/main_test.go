package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"vserver/daemon"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
)

// attributes is the name of the test's own program in a guest, where it sets attributes of
// files.
const attributes = "/usr/bin/attributes"

// instances is that name where it makes instances of inotify.
const instances = "/usr/bin/instances"

// TestMain makes the test's own program vserverd as well: a start launches it from
// /proc/self/exe.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == proto.Program {
		os.Exit(daemon.Main(os.Args, guest.Dirs{}))
	}
	if os.Args[0] == attributes { // in a guest, see TestDisk
		if err := need.SetAttributes(os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Args[0] == instances { // in a guest, see TestCeilingsOfRunningGuest
		n, _ := strconv.Atoi(os.Args[1])
		for range n {
			if _, err := syscall.InotifyInit1(syscall.IN_CLOEXEC); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	need.Main(m)
}
