package views

import (
	"testing"
	"time"
)

// A guest that asks while vserverd is slow, as one that begins on a busy machine is, waits, and is
// not told the host's size.
func TestSizeLate(t *testing.T) {
	w := newWorld(t)
	set := w.loop()
	w.take(set)
	set.Loop.Post(func() { time.Sleep(1100 * time.Millisecond) })
	if _, ok := set.Size("web1"); !ok {
		t.Error("nobody knew the size")
	}
}
