package private

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netns"

	"vserver/guest"
)

// TestParallel connects guests at once on a host that has had none, and takes half of
// them down while others come.
func TestParallel(t *testing.T) {
	w := newWorld(t)
	const n = 16
	guests := make([]netns.NsHandle, n)
	for i := range guests {
		guests[i] = w.namespace()
	}
	connect := func(i int) {
		w.in(w.host, func() {
			s := spec(guest.XID(100+i), fmt.Sprintf("192.0.2.%d/24", 100+i), fmt.Sprintf("2001:db8:1::%d/64", 100+i))
			if err := w.up(s, guests[i]); err != nil {
				t.Error(i, err)
			}
		})
	}
	all := func(from int, do func(i int)) {
		var wg sync.WaitGroup
		for i := from; i < n; i += 2 {
			wg.Go(func() { do(i) })
		}
		wg.Wait()
	}
	all(0, connect)
	var wg sync.WaitGroup
	wg.Go(func() { all(1, connect) })
	all(0, func(i int) {
		w.in(w.host, func() {
			if err := Down(guest.XID(100+i), w.dirs); err != nil {
				t.Error(i, err)
			}
		})
	})
	wg.Wait()
	for i := 1; i < n; i += 2 {
		if _, err := w.reaches(w.outside, guests[i], fmt.Sprintf("192.0.2.%d", 100+i)); err != nil {
			t.Error(i, err)
		}
	}
	for _, m := range w.marks() {
		var i int
		if _, err := fmt.Sscanf(m, "proxy 192.0.2.%d", &i); err == nil && i%2 == 0 {
			t.Error("left: ", m)
		}
	}
	conn, err := nftables.New()
	must(t, err)
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	rules, err := conn.GetRules(table, &nftables.Chain{Table: table, Name: "source"})
	if err != nil || len(rules) != 1 {
		t.Errorf("%d rules, %v", len(rules), err)
	}
}
