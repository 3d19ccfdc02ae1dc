package loop

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func newLoop(t testing.TB) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func turn(t *testing.T, l *Loop, until func() bool) {
	t.Helper()
	l.After(30*time.Second, func() { t.Fatal("nothing came") })
	for !until() {
		if err := l.Turn(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSources(t *testing.T) {
	l := newLoop(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got string
	var last uint32
	src, err := l.Add(int(r.Fd()), 0, func(events uint32) {
		last = events
		buf := make([]byte, 16)
		n, _ := r.Read(buf)
		got += string(buf[:n])
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Add(int(r.Fd()), Readable, nil); err == nil {
		t.Error("added twice")
	}
	w.WriteString("text")
	over := false
	l.After(20*time.Millisecond, func() { over = true })
	turn(t, l, func() bool { return over })
	if got != "" {
		t.Errorf("read %q unasked", got)
	}
	l.Want(src, Readable)
	turn(t, l, func() bool { return got == "text" })
	w.Close()
	turn(t, l, func() bool { return last&HungUp != 0 })
	l.Drop(src)
	l.Drop(src)
	l.Want(src, Readable)
	l.Drop(nil)
	l.Want(nil, Readable)
}

// An event that was fetched together with the one whose handling closed its
// descriptor is not given to the next owner of that number.
func TestStale(t *testing.T) {
	l := newLoop(t)
	a, w1, err1 := os.Pipe()
	b, w2, err2 := os.Pipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	defer w1.Close()
	defer w2.Close()
	calls := 0
	var srcs [2]*Source
	files := [2]*os.File{a, b}
	for i := range files {
		srcs[i], _ = l.Add(int(files[i].Fd()), Readable, func(uint32) {
			calls++
			for j := range files { // both go at the first event
				l.Drop(srcs[j])
				files[j].Close()
			}
		})
	}
	w1.WriteString("x")
	w2.WriteString("x")
	turn(t, l, func() bool { return calls > 0 })
	over := false
	l.After(10*time.Millisecond, func() { over = true })
	turn(t, l, func() bool { return over })
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
}

func TestTimers(t *testing.T) {
	l := newLoop(t)
	var order []int
	for _, n := range []int{3, 1, 2} {
		l.After(time.Duration(n)*10*time.Millisecond, func() { order = append(order, n) })
	}
	l.Cancel(l.After(5*time.Millisecond, func() { t.Error("cancelled, and yet") }))
	l.Cancel(nil)
	begin := time.Now()
	turn(t, l, func() bool { return len(order) == 3 })
	if !slices.IsSorted(order) || time.Since(begin) < 30*time.Millisecond {
		t.Errorf("order %v after %v", order, time.Since(begin))
	}
}

func TestPost(t *testing.T) {
	l := newLoop(t)
	var all sync.WaitGroup
	n := 0
	for range 50 {
		all.Go(func() { l.Post(func() { n++ }) })
	}
	turn(t, l, func() bool { return n == 50 })
	all.Wait()
}

// A timer that is always due keeps no descriptor from its turn, and a loop that lingers
// misses nothing.
func TestDue(t *testing.T) {
	for _, linger := range []time.Duration{0, 100 * time.Microsecond} {
		l := newLoop(t)
		l.Linger = linger
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		src, err := l.Add(int(r.Fd()), Readable, func(uint32) {
			var buf [1]byte
			n, _ := r.Read(buf[:])
			got += n
			if got < 5 {
				w.Write(buf[:])
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		var again func()
		again = func() { l.After(0, again) }
		again()
		w.Write([]byte("x"))
		turn(t, l, func() bool { return got == 5 })
		l.Drop(src)
		r.Close()
		w.Close()
	}
}

// The first timer is the first, whichever was set or forgotten before.
func TestFirstTimer(t *testing.T) {
	l := newLoop(t)
	var got []string
	late := l.After(time.Hour, func() { got = append(got, "late") })
	soon := l.After(time.Minute, func() { got = append(got, "soon") })
	if first := l.first(); first != soon.when {
		t.Errorf("waits until %v for what is due at %v", first, soon.when)
	}
	l.Cancel(soon)
	if first := l.first(); first != late.when {
		t.Errorf("waits until %v when all until %v is forgotten", first, late.when)
	}
	l.After(0, func() { got = append(got, "now") })
	turn(t, l, func() bool { return len(got) > 0 })
	l.Cancel(late)
	if !slices.Equal(got, []string{"now"}) {
		t.Errorf("rang %q", got)
	}
}

// BenchmarkTurn is an event among the timers of 200 guests.
func BenchmarkTurn(b *testing.B) {
	l := newLoop(b)
	for range 200 {
		l.After(time.Hour, func() {})
	}
	for b.Loop() {
		l.Post(func() {})
		if err := l.Turn(); err != nil {
			b.Fatal(err)
		}
	}
}
