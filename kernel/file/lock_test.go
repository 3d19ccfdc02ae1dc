package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	a, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := WaitLock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited: %v", err)
	}
	got := make(chan error)
	go func() {
		b, err := WaitLock(t.Context(), path)
		if err == nil {
			err = b.Unlock()
		}
		got <- err
	}()
	time.Sleep(5 * time.Millisecond)
	if err := a.Unlock(); err != nil {
		t.Error(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the lock's file was left")
	}
}

// TestLockRace has many take one lock that is removed with each release: never two at
// once.
func TestLockRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	inside := make(chan struct{}, 1)
	fail := make(chan error, 16)
	for range cap(fail) {
		go func() {
			for range 50 {
				l, err := WaitLock(t.Context(), path)
				if err != nil {
					fail <- err
					return
				}
				select {
				case inside <- struct{}{}:
				default:
					fail <- fmt.Errorf("two hold one lock")
					return
				}
				<-inside
				l.Unlock()
			}
			fail <- nil
		}()
	}
	for range cap(fail) {
		if err := <-fail; err != nil {
			t.Fatal(err)
		}
	}
}

func TestSharedLock(t *testing.T) {
	dir := t.TempDir()
	a, b := opened(t, dir), opened(t, dir)
	if err := errors.Join(a.Share(), b.Share()); err != nil {
		t.Error(err)
	}
	c := opened(t, dir)
	if err := c.Seize(); !errors.Is(err, ErrLocked) {
		t.Errorf("seized what others share: %v", err)
	}
}

// A lock that was let go of is free, though a process born meanwhile has its file open.
func TestUnlockWithCopies(t *testing.T) {
	for name, letGo := range map[string]func(*Lock) error{"Release": (*Lock).Release, "Unlock": (*Lock).Unlock} {
		path := filepath.Join(t.TempDir(), "lock")
		l, err := TryLock(path)
		if err != nil {
			t.Fatal(err)
		}
		copied, err := syscall.Dup(int(l.f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(copied)
		if err := letGo(l); err != nil {
			t.Error(err)
		}
		again, err := TryLock(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := again.Unlock(); err != nil {
			t.Error(err)
		}
	}
}
