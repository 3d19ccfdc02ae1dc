package need

import (
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// AloneVar names the environment variable that, when "1", promises that nothing else
// changes this machine meanwhile. Then everything new counts as left behind, also
// what bears no sign of the package that made it.
const AloneVar = "VSERVER_ALONE"

// LeakExit is the exit code of a package whose tests passed but left something.
const LeakExit = 99

// patience is how long what dies by itself (processes, network namespaces, lazy
// unmounts) may take to be gone. The environment can set it, for the tests here.
func patience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("VSERVER_TEST_PATIENCE")); err == nil {
		return d
	}
	return 30 * time.Second
}

// Main runs the tests of a package and ends the process. All temporary directories
// of the tests lie in one of the package's own. When afterwards anything of this is
// there that was not before, the list is printed and the exit code is [LeakExit]:
// open files of the process, its children, processes born of it, mounts, cgroups,
// loop devices, links named vs*, named network namespaces, addresses, BPF programs,
// and files in that directory.
//
//	func TestMain(m *testing.M) { need.Main(m) }
func Main(m *testing.M) {
	own, err := os.MkdirTemp("", "vserver-test.")
	if err == nil {
		err = os.Chmod(own, 0o755) // guests' roots are other users
	}
	if err == nil {
		err = os.Setenv("TMPDIR", own)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "need:", err)
		os.Exit(LeakExit)
	}
	heedSignals()
	wakeRuntime()
	before := look(own)
	code := m.Run()
	if left := settle(own, before, patience()); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "need: the tests left behind:\n\t%s\n", strings.Join(left, "\n\t"))
		code = max(code, LeakExit)
	}
	unmountBelow(own) // else the next line would empty what is mounted there
	os.RemoveAll(own)
	os.Exit(code)
}

// heedSignals makes the programs that tests run begin with signals as a terminal has
// them: nohup and make leave some ignored, and no shell can trap what was ignored when
// it began.
func heedSignals() {
	heard := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(heard, s)
		}
	}
}

// settle gives what is there now and was not before, once that is nothing or time
// is up.
func settle(own string, before map[string]bool, patience time.Duration) []string {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		now := look(own)
		maps.DeleteFunc(now, func(thing string, _ bool) bool { return before[thing] })
		if len(now) == 0 || time.Now().After(end) {
			return slices.Sorted(maps.Keys(now))
		}
	}
}

// wakeRuntime makes the Go runtime open its own files (epoll, eventfd) now, so that
// they are there in the first look.
func wakeRuntime() {
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	r.SetReadDeadline(time.Now())
	r.Read(make([]byte, 1))
	r.Close()
	w.Close()
}
