package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/state"
	"vserver/internal/need"
	"vserver/stack"
)

// full is a file system of which a test says how many files more it can have.
type full struct {
	t    *testing.T
	dir  string
	have []string
}

// small mounts one with room for so many files.
func small(t *testing.T, options string) (*world, *full) {
	t.Helper()
	need.Root(t)
	need.Overlay(t)
	need.Kernel(t, 6, 3) // of a tmpfs with other ids
	root := filepath.Join(need.TempDir(t), "small")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("small", root, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(root, syscall.MNT_DETACH) }) // the kernel may still be busy with overlays
	f := &full{t: t, dir: filepath.Join(root, "filler")}
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return worldAt(t, root), f
}

// leave leaves room for n files.
func (f *full) leave(n int) {
	f.t.Helper()
	for {
		name := filepath.Join(f.dir, fmt.Sprint(len(f.have)))
		file, err := os.Create(name)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			f.t.Fatal(err)
		}
		file.Close()
		f.have = append(f.have, name)
	}
	for range n {
		last := len(f.have) - 1
		if err := os.Remove(f.have[last]); err != nil {
			f.t.Fatal(err)
		}
		f.have = f.have[:last]
	}
}

// refused fails the test unless an error is that of a full disk, in one line with a way out.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), "df -h") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v, hint %q", what, err, fault.HintOf(err))
	}
}

// TestFullDisk does what makes files with no room for one more, then with room for one, and
// so on until it works. Until then it is refused and nothing is left of it.
func TestFullDisk(t *testing.T) {
	w, f := small(t, "size=32M,nr_inodes=1400")
	w.guest("web1", nil)
	for i := range stack.Deepest {
		put(t, w.Host, "web1", fmt.Sprintf("etc/dir%d/file", i), fmt.Sprint(i))
		if _, err := TakeSnapshot(t.Context(), w.Host, "web1", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	w.guest("web2", nil)
	for _, n := range []guest.Name{"web1", "web2"} {
		put(t, w.Host, n, "etc/mine", "mine")
	}
	hashified := func(n guest.Name) error {
		_, err := Hashify(t.Context(), w.Host, n, HashifyOptions{})
		return err
	}
	for _, job := range []struct {
		what string
		do   func() error
		undo func() error
	}{
		{"push", func() error {
			return CopyFiles(t.Context(), w.Host, []CopyPlace{{Path: "/etc/passwd"}}, CopyPlace{Guest: "web2", Path: "/etc/new"}, CopyOptions{})
		}, func() error { return seen(t, w.Host, "web2").Remove("etc/new") }},
		{"cp", func() error {
			return CopyFiles(t.Context(), w.Host, []CopyPlace{{Guest: "web1", Path: "/etc/mine"}}, CopyPlace{Guest: "web2", Path: "/etc/copy"}, CopyOptions{Archive: true})
		}, func() error { return seen(t, w.Host, "web2").Remove("etc/copy") }},
		{"commit", func() error {
			_, err := ImportImage(t.Context(), w.Host, "mine@1", GuestFiles(w.Host, "web2", ""), ImportOptions{})
			return err
		}, func() error { return RemoveImage(w.Host, "mine@1") }},
		{"snapshot", func() error { _, err := TakeSnapshot(t.Context(), w.Host, "web2", "more"); return err },
			func() error { return DeleteSnapshot(w.Host, "web2", "more") }},
		{"merge", func() error { _, err := TakeSnapshot(t.Context(), w.Host, "web1", "more"); return err },
			func() error { return DeleteSnapshot(w.Host, "web1", "more") }},
		{"clone", func() error { return w.Clone(t.Context(), "web2", "web3", nil, CloneOptions{}) },
			func() error { return w.Delete(t.Context(), "web3", DeleteOptions{}) }},
		{"hashify", func() error { return hashified("web2") }, func() error { return nil }},
	} {
		by := 1
		if job.what == "commit" { // which has all the files of busybox
			by = 60
		}
		for room := 0; ; room += by {
			f.leave(room)
			err := job.do()
			if err == nil {
				t.Logf("%s needs room for %d files", job.what, room)
				break
			}
			if room > 600 {
				t.Fatalf("%s: %v", job.what, err)
			}
			refused(t, fmt.Sprintf("%s with room for %d", job.what, room), err)
			for _, n := range []guest.Name{"web1", "web2"} {
				if got := content(t, w.Host, n, "etc/mine"); got != "mine" {
					t.Fatalf("%s with room for %d: %s has %q", job.what, room, n, got)
				}
			}
			used, err := stack.Users(w.Dirs)
			for _, name := range layersOf(t, w.Host) {
				if err != nil || len(used[name]) == 0 {
					t.Fatalf("%s with room for %d left %s, %v", job.what, room, name, err)
				}
			}
			left := append(w.passing("web2"), glob(t, filepath.Join(w.Dirs.Data, "staging", "*"))...)
			left = append(append(left, glob(t, filepath.Join(w.Dirs.Pool(), "staging", "*"))...), glob(t, filepath.Join(w.Dirs.Pool(), "images", "mine*"))...)
			if names, err := w.Names(); err != nil || len(names) != 2 || len(left) > 0 {
				t.Fatalf("%s with room for %d left %v %q %v", job.what, room, names, left, err)
			}
		}
		for _, name := range f.have {
			os.Remove(name)
		}
		f.have = nil
		if err := job.undo(); err != nil {
			t.Fatalf("%s: %v", job.what, err)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Error(err)
	}
	return names
}

// TestFullDiskRunning has a running guest's files copied to a disk that has no room for
// them. It runs on, and nothing is left.
func TestFullDiskRunning(t *testing.T) {
	w, _ := small(t, "size=8M")
	w.guest("web1", nil)
	put(t, w.Host, "web1", "etc/mine", strings.Repeat("x", 9<<19))
	w.start("web1")
	_, err := TakeSnapshot(t.Context(), w.Host, "web1", "")
	refused(t, "snapshot", err)
	refused(t, "clone", w.Clone(t.Context(), "web1", "web2", nil, CloneOptions{}))
	if out, code := w.sh("web1", "wc -c </etc/mine"); code != 0 || out != fmt.Sprintln(9<<19) {
		t.Errorf("the guest: %d %q", code, out)
	}
	if st, err := w.Status("web1"); err != nil || st.State != guest.Running {
		t.Errorf("the guest is %v %v", st.State, err)
	}
	if names := layersOf(t, w.Host); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
	if names, err := w.Names(); err != nil || len(names) != 1 {
		t.Errorf("left: %v %v", names, err)
	}
	if there, err := state.Grouped(w.Dirs, "web2"); err != nil || there {
		t.Errorf("a group of the clone is left: %v", err)
	}
	w.stop("web1")
}

// A guest is deleted where there is no room for one file more: that makes room.
func TestFullDelete(t *testing.T) {
	w, f := small(t, "size=32M,nr_inodes=1400")
	w.guest("web1", nil)
	w.start("web1")
	w.stop("web1")
	if err := w.Delete(t.Context(), w.guest("web2", nil), DeleteOptions{}); err != nil {
		t.Fatal(err) // it makes the directory for deletions
	}
	f.leave(0)
	if err := w.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// Images that are unified where there is no room for an object stay what they are.
func TestFullUnify(t *testing.T) {
	w, f := small(t, "size=32M,nr_inodes=1400")
	w.guest("web1", nil)
	put(t, w.Host, "web1", "etc/mine", "mine")
	if _, err := ImportImage(t.Context(), w.Host, "mine@1", GuestFiles(w.Host, "web1", ""), ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	for room := 0; ; room++ {
		f.leave(room)
		if _, err := UnifyImages(t.Context(), w.Host, nil, UnifyOptions{}); err == nil {
			break
		} else if refused(t, fmt.Sprint("room for ", room), err); t.Failed() {
			break
		}
	}
	if bad, err := VerifyImages(t.Context(), w.Host, nil, nil); err != nil || len(bad) > 0 {
		t.Errorf("%+v, %v", bad, err)
	}
}
