package warm

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// TestLike: what a caller has otherwise is a reason not to work for it, if it cannot be taken
// over.
func TestLike(t *testing.T) {
	var us caller
	us.look()
	us.caps[0] |= 1 << unix.CAP_SYS_RESOURCE
	us.limits[unix.RLIMIT_NOFILE] = unix.Rlimit{Cur: 1024, Max: 4096}
	for name, tt := range map[string]struct {
		change func(*caller)
		want   bool
	}{
		"the same":          {func(*caller) {}, true},
		"other umask":       {func(c *caller) { c.umask++ }, true},
		"fewer files":       {func(c *caller) { c.limits[unix.RLIMIT_NOFILE] = unix.Rlimit{Cur: 512, Max: 512} }, true},
		"too few files":     {func(c *caller) { c.limits[unix.RLIMIT_NOFILE].Cur = 20 }, false},
		"less memory":       {func(c *caller) { c.limits[unix.RLIMIT_AS].Cur-- }, false},
		"time":              {func(c *caller) { c.limits[unix.RLIMIT_CPU].Cur-- }, false},
		"nice":              {func(c *caller) { c.priority++ }, false},
		"other rights":      {func(c *caller) { c.caps[1] ^= 1 }, false},
		"other processors":  {func(c *caller) { c.processors[0] ^= 1 }, false},
		"memory of a node":  {func(c *caller) { c.memory++ }, false},
		"another version's": {func(c *caller) { c.format++ }, false},
	} {
		them := us
		tt.change(&them)
		if them.like(&us) != tt.want {
			t.Errorf("%s: %v", name, !tt.want)
		}
	}
	us.caps[0] &^= 1 << unix.CAP_SYS_RESOURCE
	them := us
	them.limits[unix.RLIMIT_NOFILE].Max--
	if them.like(&us) {
		t.Error("a hard limit was lowered by who cannot raise it")
	}
}

// TestPlace: a process is in its own place, and in that of its parent.
func TestPlace(t *testing.T) {
	need.Root(t)
	here, err := look("self")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := look("thread-self"); err != nil || again != here {
		t.Errorf("%+v, %v; want %+v", again, err, here)
	}
	child, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Kill()
	other, err := look(strconv.Itoa(child.Pid))
	if err != nil || other.program == here.program {
		t.Errorf("the program of another: %+v, %v", other, err)
	}
	if other.program = here.program; other != here {
		t.Errorf("a child is in another place: %+v, and we in %+v", other, here)
	}
	if _, err := look("0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("process 0: %v", err)
	}
}
