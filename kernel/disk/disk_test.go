package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestNumberRefuses(t *testing.T) {
	for path, want := range map[string]error{"/dev/null": guest.ErrInvalid, t.TempDir(): guest.ErrInvalid, "/dev/no/such": fs.ErrNotExist} {
		if n, err := Number(path); !errors.Is(err, want) {
			t.Errorf("%s: %q, %v", path, n, err)
		}
	}
}

// Every device has the number of a disk, a partition that of the disk it is on.
func TestNumber(t *testing.T) {
	list, err := filepath.Glob("/sys/class/block/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range list {
		path := "/dev/" + filepath.Base(dir)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		n, err := Number(path)
		if err != nil {
			t.Error(err)
			continue
		}
		real, err := filepath.EvalSymlinks("/sys/dev/block/" + n)
		if err != nil || !strings.HasPrefix(filepath.Base(dir), filepath.Base(real)) {
			t.Errorf("%s: number %s is %s, %v", path, n, real, err)
		}
		if _, err := os.Stat(real + "/partition"); err == nil {
			t.Errorf("%s: number %s is a partition", path, n)
		}
		if again, err := Number("/dev/block/" + n); err != nil || again != n {
			t.Errorf("/dev/block/%s: %s, %v", n, again, err)
		}
	}
}

func TestAll(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if real, err := filepath.EvalSymlinks("/sys/dev/block/" + n); err != nil || strings.HasPrefix(filepath.Base(real), "loop") {
			t.Errorf("%s is %s, %v", n, real, err)
		}
	}
	if Scheduler("no_such") {
		t.Error("a scheduler that is none is at work")
	}
	if slices.Contains(all, "") {
		t.Errorf("%q", all)
	}
}
