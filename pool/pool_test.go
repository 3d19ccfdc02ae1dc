package pool

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
)

func TestMain(m *testing.M) {
	if os.Getenv("VSERVER_TEST_POOL") != "" { // a child that will be killed
		os.Exit(m.Run())
	}
	need.Main(m)
}

func fillWith(text string) func(context.Context, string) error {
	return func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o644)
	}
}

func names(t *testing.T, p *Pool) []string {
	t.Helper()
	list, err := p.List()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, im := range list {
		out = append(out, im.Name)
	}
	return out
}

// empty checks that nothing is being made or removed.
func empty(t *testing.T, p *Pool) {
	t.Helper()
	for _, d := range []string{"staging", "locks"} {
		if entries, err := os.ReadDir(filepath.Join(p.dir, d)); err != nil || len(entries) > 0 {
			t.Errorf("%s: %v, %v", d, entries, err)
		}
	}
}

func TestLife(t *testing.T) {
	p := Open(filepath.Join(t.TempDir(), "pool"))
	if list, err := p.List(); err != nil || list != nil {
		t.Errorf("list of no pool: %v, %v", list, err)
	}
	if err := p.Sweep(); err != nil {
		t.Error(err)
	}
	if _, err := p.Tree("a"); !errors.Is(err, ErrNoImage) {
		t.Errorf("tree: %v", err)
	}
	if err := p.Add(t.Context(), "a", Meta{Method: "m", Guest: "g"}, fillWith("1")); err != nil {
		t.Fatal(err)
	}
	if err := p.Add(t.Context(), "a", Meta{}, fillWith("2")); !errors.Is(err, guest.ErrExists) {
		t.Errorf("second: %v", err)
	}
	tree, err := p.Tree("a")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(tree, "f")); err != nil || string(b) != "1" {
		t.Errorf("%q, %v", b, err)
	}
	list, err := p.List()
	if err != nil || len(list) != 1 || list[0].Method != "m" || list[0].Guest != "g" || time.Since(list[0].Made) > time.Minute {
		t.Errorf("list: %+v, %v", list, err)
	}
	for path, perm := range map[string]os.FileMode{p.dir: 0o700, tree: 0o755, filepath.Dir(tree): 0o700} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != perm {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	if err := p.Remove("a", []guest.Name{"web1"}); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("remove of what is referred to: %v", err)
	}
	release, err := p.Use("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Remove("a", nil); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("remove of what is used: %v", err)
	}
	release()
	if err := p.Remove("a", nil); err != nil {
		t.Error(err)
	}
	if err := p.Remove("a", nil); !errors.Is(err, ErrNoImage) {
		t.Errorf("remove again: %v", err)
	}
	if _, err := p.Use("a"); !errors.Is(err, ErrNoImage) {
		t.Errorf("use: %v", err)
	}
	empty(t, p)
}

func TestBadNames(t *testing.T) {
	p := Open(filepath.Join(t.TempDir(), "pool"))
	for _, n := range []string{"", ".", "..", "a/b", "-x", ".x", "a b", "ä", string(make([]byte, 200))} {
		if err := p.Add(t.Context(), n, Meta{}, fillWith("")); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("add %q: %v", n, err)
		}
		if _, err := p.Tree(n); err == nil {
			t.Errorf("tree %q", n)
		}
		if err := p.Remove(n, nil); err == nil {
			t.Errorf("remove %q", n)
		}
	}
}

func TestFails(t *testing.T) {
	p := Open(filepath.Join(t.TempDir(), "pool"))
	broken := errors.New("broken")
	fill := func(ctx context.Context, dir string) error { return errors.Join(fillWith("half")(ctx, dir), broken) }
	if err := p.Add(t.Context(), "a", Meta{}, fill); !errors.Is(err, broken) {
		t.Error(err)
	}
	empty(t, p)
	for range 2 {
		if err := p.Keeping().Add(t.Context(), "a", Meta{}, fill); !errors.Is(err, broken) {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(p.Kept("a"), "tree/f")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := p.Add(ctx, "b", Meta{}, func(context.Context, string) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	empty(t, p)
	if got := names(t, p); len(got) > 0 {
		t.Error(got)
	}
}

func TestParallel(t *testing.T) {
	p := Open(filepath.Join(t.TempDir(), "pool"))
	var fills, made atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		for _, n := range []string{"a", "b"} {
			wg.Go(func() {
				err := p.Add(t.Context(), n, Meta{}, func(ctx context.Context, dir string) error {
					fills.Add(1)
					time.Sleep(5 * time.Millisecond)
					return fillWith(n)(ctx, dir)
				})
				switch {
				case err == nil:
					made.Add(1)
				case !errors.Is(err, guest.ErrExists):
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if fills.Load() != 2 || made.Load() != 2 {
		t.Errorf("filled %d times, made %d", fills.Load(), made.Load())
	}
	if got := names(t, p); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
	empty(t, p)
}

// TestChild is no test: it makes an image that is never done, for TestKilled.
func TestChild(t *testing.T) {
	dir := os.Getenv("VSERVER_TEST_POOL")
	if dir == "" {
		return
	}
	Open(dir).Add(t.Context(), "slow", Meta{}, func(ctx context.Context, tree string) error {
		os.Mkdir(filepath.Join(tree, "half"), 0o755)
		select {}
	})
}

func TestKilled(t *testing.T) {
	p := Open(filepath.Join(t.TempDir(), "pool"))
	c := exec.Command(os.Args[0], "-test.run=^TestChild$")
	c.Env = append(os.Environ(), "VSERVER_TEST_POOL="+p.dir)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(p.staging("slow"), "tree/half")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(half); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the child does not begin")
		}
	}
	if err := p.Add(t.Context(), "other", Meta{}, fillWith("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); err != nil {
		t.Errorf("the work of the living was swept: %v", err)
	}
	if err := c.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if got := names(t, p); !slices.Equal(got, []string{"other"}) {
		t.Error(got)
	}
	if err := p.Sweep(); err != nil {
		t.Error(err)
	}
	empty(t, p)
}

func TestBrokenMeta(t *testing.T) {
	p := Open(filepath.Join(t.TempDir(), "pool"))
	if err := p.Add(t.Context(), "a", Meta{Method: "m"}, fillWith("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.image("a"), "image.json"), []byte(`{"method": 7`), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := p.List(); err != nil || len(list) != 1 || list[0].Method != "" {
		t.Errorf("%+v, %v", list, err)
	}
}
