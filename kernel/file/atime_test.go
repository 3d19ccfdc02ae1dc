package file

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

// Reading files and directories leaves the time of their last access; what may not say so
// reads all the same.
func TestReadsLeaveTimes(t *testing.T) {
	top := need.TempDir(t)
	dir := filepath.Join(top, "dir")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o644)); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1e9, 5) // so long before the last change that relatime would be none
	for _, path := range []string{filepath.Join(dir, "file"), dir} {
		if err := os.Chtimes(path, old, time.Unix(1.1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := opened(t, top).Dir("dir")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for _, d := range []*Dir{sub, opened(t, dir)} {
		if text, err := d.Read("file", 10); err != nil || string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
		if names, err := d.Names(); err != nil || len(names) != 1 {
			t.Errorf("%q, %v", names, err)
		}
	}
	for _, path := range []string{filepath.Join(dir, "file"), dir} {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || time.Unix(st.Atim.Unix()) != old {
			t.Errorf("%s was read at %v, %v", path, time.Unix(st.Atim.Unix()), err)
		}
	}
	if text, err := opened(t, "/etc").Read("passwd", 1<<20); err != nil || len(text) == 0 { // root's, whoever we are
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
