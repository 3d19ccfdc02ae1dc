package eventfd

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// TestWait takes what is added, and is let go by the end of the file.
func TestWait(t *testing.T) {
	f, err := New("number")
	if err != nil {
		t.Fatal(err)
	}
	type taken struct {
		n   uint64
		err error
	}
	got := make(chan taken)
	wait := func() {
		n, err := Wait(f)
		got <- taken{n, err}
	}
	go wait()
	if _, err := f.Write(binary.NativeEndian.AppendUint64(nil, 4)); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g.n != 4 || g.err != nil {
		t.Errorf("%d, %v; want 4", g.n, g.err)
	}
	go wait()
	f.Close()
	if g := <-got; !errors.Is(g.err, os.ErrClosed) {
		t.Errorf("%d, %v of a closed file", g.n, g.err)
	}
}
