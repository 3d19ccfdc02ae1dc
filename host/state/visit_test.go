package state

import (
	"errors"
	"os"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
)

// TestVisit: while somebody visits nobody may think the guest free, and the other way round
// a visit waits for nobody.
func TestVisit(t *testing.T) {
	d := need.Dirs(t)
	if err := Free(d, "web1"); err != nil {
		t.Error(err)
	}
	if _, err := Visit(d, "web1"); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("visit of nobody: %v", err)
	}
	if err := os.MkdirAll(d.State("web1"), 0o700); err != nil {
		t.Fatal(err)
	}
	leave, err := Visit(d, "web1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Visit(d, "web1")
	if err != nil {
		t.Fatal(err)
	}
	other()
	done := make(chan error)
	go func() { done <- Free(d, "web1") }()
	select {
	case err := <-done:
		t.Errorf("free during a visit: %v", err)
	default:
	}
	leave()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestMounted believes no note that the kernel contradicts.
func TestMounted(t *testing.T) {
	d := need.Dirs(t)
	if v, err := Mounted(d, "web1"); v != nil || err != nil {
		t.Errorf("%v %v", v, err)
	}
	for _, v := range []View{{ID: 1 << 40, Dir: "/a place", Writable: true}, {ID: 1 << 41, Dir: "/"}} {
		if err := NoteView(d, "web1", v); err != nil {
			t.Fatal(err)
		}
		if got, err := Mounted(d, "web1"); got != nil || err != nil {
			t.Errorf("%v %v", got, err)
		}
		if err := Free(d, "web1"); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(viewPath(d, "web1"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Mounted(d, "web1"); !errors.Is(err, guest.ErrInvalid) {
		t.Error(err)
	}
	if err := errors.Join(ForgetView(d, "web1"), ForgetView(d, "web1")); err != nil {
		t.Error(err)
	}
}
