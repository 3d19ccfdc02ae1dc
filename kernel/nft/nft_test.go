package nft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// own gives a connection to a network namespace of the test's own.
func own(t *testing.T) *Conn {
	need.Root(t)
	need.Namespaces(t, syscall.CLONE_NEWNET)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestBatch(t *testing.T) {
	c := own(t)
	table := Table{Inet, "t"}
	sets := []Set{
		{Name: "plain", Key: []Kind{IPv4()}},
		{Name: "links", Key: []Kind{LinkName()}, Data: Verdict()},
		{Name: "class", Key: []Kind{IPv6()}, Data: Class()},
		{Name: "range", Key: []Kind{Protocol(), Port()}, Data: Verdict(), Interval: true},
		{Name: "nets", Key: []Kind{IPv4()}, Interval: true},
		{Name: "learned", Key: []Kind{Port(), IPv4()}, Data: Port(), Learned: true},
	}
	link := append([]byte("vs8"), make([]byte, 13)...)
	elements := map[string][]Element{
		"plain": {{Key: []byte{10, 0, 0, 1}}},
		"links": {{Key: link, Chain: "c"}},
		"class": {{Key: make([]byte, 16), Data: []byte{1, 2, 3, 4}}},
		"range": {{Key: []byte{6, 0, 0, 0, 0, 80, 0, 0}, KeyEnd: []byte{6, 0, 0, 0, 0, 90, 0, 0}, Chain: "c"}},
		"nets":  {{Key: []byte{10, 0, 0, 0}}, {Key: []byte{11, 0, 0, 0}, End: true}},
	}
	b := NewBatch(table)
	b.AddTable()
	b.AddChain("c", nil)
	b.AddChain("in", &Base{"filter", Input, 0})
	for _, s := range sets {
		b.AddSet(s)
		b.AddElements(s.Name, elements[s.Name]...)
	}
	for i := range 1000 { // more than would fit if each were answered
		b.AddRule("c", fmt.Sprint("rule ", i), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
	}
	if err := c.Commit(b); err != nil {
		t.Fatal(err)
	}
	for name, want := range elements {
		got, err := c.Elements(table, name)
		slices.SortFunc(got, func(a, b Element) int { return slices.Compare(a.Key, b.Key) })
		if len(got) > len(want) && got[0].End {
			got = got[1:] // the kernel adds what is below the first range
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want)
		}
	}
	if names, err := c.Sets(table); err != nil || len(names) != len(sets) {
		t.Errorf("sets %v, %v", names, err)
	}
	b = NewBatch(table)
	b.DelElements("links", elements["links"]...)
	b.FlushChain("c")
	b.DelSet("range")
	b.DelChain("c")
	if err := c.Commit(b); err != nil {
		t.Fatal(err)
	}
	if names, err := c.Chains(table); err != nil || !slices.Equal(names, []string{"in"}) {
		t.Errorf("chains %v, %v", names, err)
	}
}

// A batch with one wrong command changes nothing, and the error is that command's.
func TestWhole(t *testing.T) {
	c := own(t)
	table := Table{Inet, "t"}
	b := NewBatch(table)
	b.AddTable()
	b.DelChain("missing")
	b.AddChain("c", nil)
	if err := c.Commit(b); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("commit: %v", err)
	}
	b = NewBatch(table)
	b.AddChain("c", nil)
	if err := c.Commit(b); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the table was made: %v", err)
	}
	if there, err := c.HasChain(table, "c"); there || err != nil {
		t.Errorf("chain: %v, %v", there, err)
	}
	if there, err := Exists(table, "c"); there || err != nil {
		t.Errorf("chain: %v, %v", there, err)
	}
	b = NewBatch(table)
	b.AddTable()
	b.AddChain("c", nil)
	if err := c.Commit(b); err != nil {
		t.Error(err)
	}
	if there, err := Exists(table, "c"); !there || err != nil {
		t.Errorf("chain: %v, %v", there, err)
	}
	if names, err := c.Sets(table); names != nil || err != nil {
		t.Errorf("sets: %v, %v", names, err)
	}
	if err := c.Commit(NewBatch(table)); err != nil {
		t.Error(err)
	}
}

// Gone tells of tables of the name alone, whoever deletes them, and ends with its context.
func TestGone(t *testing.T) {
	c := own(t)
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan bool, 9), make(chan error)
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
			ended <- err
			return
		}
		ended <- Gone(ctx, "t", func() { told <- true })
	}()
	<-told // at the beginning
	for _, name := range []string{"other", "t"} {
		for _, do := range []func(*Batch){(*Batch).AddTable, (*Batch).DelTable} {
			b := NewBatch(Table{Inet, name})
			do(b)
			if err := c.Commit(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-told
	cancel()
	if err := <-ended; err != nil || len(told) > 0 {
		t.Errorf("ended by %v, told %d times too often", err, len(told))
	}
}
