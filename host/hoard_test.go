package host

import (
	"fmt"
	"testing"

	"vserver/guest"
	"vserver/host/hoard"
)

// Who has most locks of a guest that has too many is ended, and nobody else.
func TestHoard(t *testing.T) {
	w := newWorld(t)
	w.instances()
	for _, n := range []guest.Name{"web1", "web2"} {
		w.guest(n, nil)
		w.start(n)
	}
	processes := func(n guest.Name) int {
		st, err := w.Status(n)
		if err != nil {
			t.Fatal(err)
		}
		return st.Processes
	}
	quiet, taken := processes("web1"), 0
	take := func(n guest.Name, count int) {
		t.Helper()
		taken++
		file := fmt.Sprintf("/run/taken%d", taken)
		w.sh(n, fmt.Sprintf("%s locks %d >%s 2>&1 </dev/null &", instances, count, file))
		eventually(t, "locks", func() bool { out, _ := w.sh(n, "read line <"+file+"; echo $line"); return out == "taken <nil>\n" })
	}
	look := func(want ...hoard.Ended) {
		t.Helper()
		list, all, err := hoard.Look(w.Dirs, []guest.Name{"web1", "web2", "gone"}, 1000)
		if err != nil || !all || fmt.Sprint(list) != fmt.Sprint(want) {
			t.Errorf("%+v, %v; want %+v", list, err, want)
		}
	}
	if list, all, err := hoard.Look(w.Dirs, []guest.Name{"web1", "web2"}, 1<<30); len(list) > 0 || all || err != nil {
		t.Errorf("of few: %v, %t, %v", list, all, err)
	}
	take("web1", 300)
	take("web2", 200)
	look() // more than 1000 of both, but of none alone
	take("web1", 350)
	look(hoard.Ended{Guest: "web1", Locks: 1300, Killed: 2})
	eventually(t, "gone", func() bool { return processes("web1") == quiet })
	if got := processes("web2"); got != quiet+1 {
		t.Errorf("the neighbour has %d processes, want %d", got, quiet+1)
	}
	take("web1", 100)
	take("web1", 450)
	look(hoard.Ended{Guest: "web1", Locks: 1100, Killed: 1})
}
