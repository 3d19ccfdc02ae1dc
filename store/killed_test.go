package store

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vserver/guest"
)

// TestKilled kills a process that writes specs and gives out numbers, again and again:
// what it leaves can be read, and the next one goes on.
func TestKilled(t *testing.T) {
	const variable = "STORE_TEST_KILLED"
	if root := os.Getenv(variable); root != "" {
		writeForever(t, root)
	}
	d := world(t)
	root := filepath.Dir(d.Config)
	for i := range 15 {
		c := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		c.Env = append(os.Environ(), variable+"="+root)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); !appeared(filepath.Join(root, "began")) && time.Since(began) < 20*time.Second; {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.Intn(40)) * time.Millisecond)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.Wait()
		all, err := All(d.Config)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.Err != nil {
				t.Errorf("round %d: %v", i, e.Err)
			}
		}
		if _, err := Records(d); err != nil {
			t.Errorf("round %d: %v", i, err)
		}
		reserve(t, d, "after", guest.Spec{}, true)
	}
	for _, dir := range []string{d.Config, d.Data} {
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 1 {
			t.Errorf("what was left adds up: %v", left)
		}
	}
}

// appeared tells whether the file is there, and removes it.
func appeared(path string) bool { return os.Remove(path) == nil }

func writeForever(t *testing.T, root string) {
	d := guest.Dirs{Config: filepath.Join(root, "config"), Data: filepath.Join(root, "data")}
	write(t, filepath.Join(root, "began"), "")
	for i := 0; ; i++ {
		spec := guest.Spec{}
		if err := Reserve(d, "g", &spec); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("xid: %d\n", spec.XID) + strings.Repeat("# long enough for several writes\n", 1000)
		if err := WriteText(d.Spec("g"), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 {
			if err := Release(d, "g"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
