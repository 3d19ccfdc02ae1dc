package clock

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// TestRelax sees that one thread may wake up later, and that it is not the main one,
// whose slack the processes that it makes inherit.
func TestRelax(t *testing.T) {
	need.Root(t) // CAP_SYS_NICE, for another thread
	slack := func(thread string) string {
		text, err := os.ReadFile(filepath.Join("/proc", thread, "timerslack_ns"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	before, want := slack(threads[0].Name()), "1000000"
	if n, err := strconv.Atoi(threads[1].Name()); err != nil || n > os.Getpid()+near {
		want = slack(threads[1].Name()) // others began meanwhile
	}
	Relax(time.Millisecond)
	if got := slack(threads[0].Name()); got != before {
		t.Errorf("the main thread has %s ns, had %s", got, before)
	}
	if got := slack(threads[1].Name()); got != want {
		t.Errorf("the monitor has %s ns, want %s", got, want)
	}
}
