package views

import (
	"strings"
	"testing"
	"time"

	"vserver/view"
)

// The load averages outlive a server, and the time without one is made up for.
func TestLoadKept(t *testing.T) {
	w := newWorld(t)
	s, err := newSlot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	r := s.record(42)
	save(r, view.Load{4096, 2048, 1024}, time.Now().Add(-time.Minute-time.Second).UnixNano())
	if other := s.record(43); &other[0] == &r[0] {
		t.Fatal("two have one record")
	}
	srv := w.server(s, &connection{name: "web1", pid: w.pid, id: 42})
	defer func() { srv.Process.Kill(); srv.Wait() }()
	text, err := w.read("loadavg")
	// A minute of idleness later: 2 * 0.368, 1 * 0.819, 0.5 * 0.936.
	if err != nil || !strings.HasPrefix(text, "0.73 0.8") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestParseKept(t *testing.T) {
	c := &connection{name: "web1", pid: 7, id: 9}
	got, err := parseKept(strings.TrimPrefix(c.kept(), keptView))
	if err != nil || got.name != c.name || got.pid != 7 || got.id != 9 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "web1 7", "web1 x 9", "web1 0 9", "/ 7 9", "web1 7 0"} {
		if _, err := parseKept(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
