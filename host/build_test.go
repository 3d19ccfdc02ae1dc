package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/internal/need"
	"vserver/pool"
	"vserver/store"
)

// tiny is a source with a few files, one of them set-uid, with an sshd of its own.
func tiny() build.Source {
	return build.Source{
		Method: "tiny", Text: "a test", Cache: true,
		Name: func(context.Context) (string, error) { return "tiny", nil },
		Fill: func(_ context.Context, dir string, p build.Progress) error {
			p.Say("fill")
			for _, d := range []string{"etc", "etc/ssh", "root", "usr"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
					return err
				}
			}
			for name, text := range map[string]string{
				"etc/passwd": "root::0:0:root:/root:/bin/sh\n", "etc/shadow": "root::1::::::\n",
				"etc/ssh/sshd_config": "", "etc/ssh/ssh_host_rsa_key": "the image's own\n", "usr/su": "x",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					return err
				}
			}
			return os.Chmod(filepath.Join(dir, "usr/su"), os.ModeSetuid|0o755)
		},
	}
}

func mustBuild(t *testing.T, h *Host, n guest.Name, spec guest.Spec) {
	t.Helper()
	o := BuildOptions{Progress: t.Output(), AuthorizedKeys: []string{"ssh-ed25519 AAAA me"}}
	if err := h.Build(t.Context(), n, &spec, tiny(), o); err != nil {
		t.Fatal(err)
	}
}

// left fails the test when anything but the images of methods that can be repeated is
// left of any guest.
func left(t *testing.T, h *Host) {
	t.Helper()
	for _, dir := range []string{"guests", "staging", "renaming", "pool/staging", "pool/locks", "kept"} {
		entries, err := os.ReadDir(filepath.Join(h.Dirs.Data, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range entries {
			t.Errorf("left: %s/%s", dir, e.Name())
		}
	}
	if specs, _ := filepath.Glob(filepath.Join(h.Dirs.Config, "*")); len(specs) > 0 {
		t.Errorf("left: %v", specs)
	}
	if notes, _ := filepath.Glob(h.Dirs.State("*")); len(notes) > 0 {
		t.Errorf("left: %v", notes)
	}
	if ids, err := store.Records(h.Dirs); err != nil || len(ids) > 0 {
		t.Errorf("left: numbers %v, %v", ids, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestBuildOverlay(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{})
	spec, err := store.Load(h.Dirs.Spec("web1"))
	if err != nil {
		t.Fatal(err)
	}
	if spec.XID != guest.AutoXID || len(spec.Root.Lower) != 1 || spec.Root.Lower[0] != "tiny" {
		t.Errorf("spec: %+v", spec)
	}
	upper := filepath.Join(h.Dirs.Guest("web1"), "upper")
	if got := read(t, upper+"/etc/hostname"); got != "web1\n" {
		t.Errorf("hostname: %q", got)
	}
	if got := read(t, upper+"/etc/shadow"); got != "root:*:1::::::\n" {
		t.Errorf("shadow: %q: root is not locked", got)
	}
	if got := read(t, upper+"/etc/passwd"); !strings.HasPrefix(got, "root:x:") {
		t.Errorf("passwd: %q: root needs no password", got)
	}
	for path, perm := range map[string]uint32{
		"root": 0o700, "root/.ssh": 0o700, "root/.ssh/authorized_keys": 0o600,
		"etc/ssh/ssh_host_ed25519_key": 0o600, "etc/machine-id": 0o444,
	} {
		st, err := os.Lstat(filepath.Join(upper, path))
		if err != nil {
			t.Error(err)
			continue
		}
		sys := st.Sys().(*syscall.Stat_t)
		if sys.Mode&0o7777 != perm || sys.Uid != spec.XID.IDBase() || sys.Gid != sys.Uid {
			t.Errorf("%s: %o %d:%d, want %o and the guest's root", path, sys.Mode, sys.Uid, sys.Gid, perm)
		}
	}
	full := spec.WithDefaults("web1")
	r, err := files.Root(h.Dirs, &full, h.Dirs.Guest("web1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Stat("etc/ssh/ssh_host_rsa_key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the image's host key is still seen: %v", err)
	}
	r.Close()
	if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	left(t, h)
}

func TestBuildPlain(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{XID: 20, Root: guest.Root{Kind: guest.RootDir}})
	st, err := os.Lstat(filepath.Join(h.Dirs.Guest("web1"), "root/usr/su"))
	if err != nil {
		t.Fatal(err)
	}
	if sys := st.Sys().(*syscall.Stat_t); sys.Uid != 20<<16 || sys.Mode&0o7777 != 0o4755 {
		t.Errorf("su: %o of %d", sys.Mode, sys.Uid)
	}
	if _, err := os.Lstat(filepath.Join(h.Dirs.Guest("web1"), "root/etc/ssh/ssh_host_rsa_key")); err == nil {
		t.Error("the image's host key is still there")
	}
	if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	left(t, h)
}

func TestBuildTwice(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{})
	before := read(t, h.Dirs.Spec("web1"))
	err := h.Build(t.Context(), "web1", &guest.Spec{}, tiny(), BuildOptions{})
	if !errors.Is(err, guest.ErrExists) {
		t.Errorf("second build: %v", err)
	}
	if read(t, h.Dirs.Spec("web1")) != before {
		t.Error("the second build changed the first one's spec")
	}
	other := guest.Spec{XID: guest.AutoXID}
	if err := h.Build(t.Context(), "web2", &other, tiny(), BuildOptions{}); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("build with a number that is taken: %v", err)
	}
	if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	left(t, h)
}

func TestBuildFails(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	broken := errors.New("broken")
	src := tiny()
	src.Fill = func(_ context.Context, dir string, _ build.Progress) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o644), broken)
	}
	for _, kind := range []guest.RootKind{guest.RootOverlay, guest.RootDir} {
		spec := guest.Spec{Root: guest.Root{Kind: kind}}
		err := h.Build(t.Context(), "web1", &spec, src, BuildOptions{})
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", kind, err)
		}
		left(t, h)
		err = h.Build(t.Context(), "web1", &spec, src, BuildOptions{Keep: true})
		if !errors.Is(err, broken) {
			t.Errorf("%s, kept: %v", kind, err)
		}
		found := 0
		filepath.WalkDir(h.Dirs.Data, func(path string, _ fs.DirEntry, _ error) error {
			if filepath.Base(path) == "half" && strings.Contains(path, "/kept/") {
				found++
			}
			return nil
		})
		if found != 1 {
			t.Errorf("%s: %d files kept, want 1", kind, found)
		}
		if dir, ok := strings.CutPrefix(fault.HintOf(err), "look at "); !ok {
			t.Errorf("%s: hint %q", kind, fault.HintOf(err))
		} else if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
		os.RemoveAll(filepath.Join(h.Dirs.Data, "kept", "web1"))
		os.RemoveAll(filepath.Dir(pool.Open(h.Dirs.Pool()).Kept("x")))
	}
}

func TestBuildBadName(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	spec := guest.Spec{Hostname: "not a host name"}
	if err := h.Build(t.Context(), "web1", &spec, tiny(), BuildOptions{}); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	left(t, h)
}

func TestBuildFullDisk(t *testing.T) {
	need.Root(t)
	d := need.Dirs(t)
	if err := os.MkdirAll(d.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("small", d.Data, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(d.Data, 0)
	h := Open(d)
	src := tiny()
	small := src.Fill
	src.Fill = func(ctx context.Context, dir string, p build.Progress) error {
		return errors.Join(small(ctx, dir, p), os.WriteFile(filepath.Join(dir, "big"), make([]byte, 1<<20), 0o644))
	}
	for _, kind := range []guest.RootKind{guest.RootOverlay, guest.RootDir} {
		spec := guest.Spec{Root: guest.Root{Kind: kind}}
		err := h.Build(t.Context(), "web1", &spec, src, BuildOptions{})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), "df -h") {
			t.Errorf("%s: %v, hint %q", kind, err, fault.HintOf(err))
		}
		left(t, h)
	}
	mustBuild(t, h, "web1", guest.Spec{})
}

func TestClone(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{Limits: guest.Limits{Pids: 77}})
	upper := func(n guest.Name) string { return filepath.Join(h.Dirs.Guest(n), "upper") }
	if err := os.WriteFile(upper("web1")+"/etc/mine", []byte("mine"), 0o640); err != nil {
		t.Fatal(err)
	}
	base := int(guest.AutoXID.IDBase())
	os.Chown(upper("web1")+"/etc/mine", base+33, base+44)
	if err := h.Clone(t.Context(), "web1", "web2", nil, CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	spec, err := store.Load(h.Dirs.Spec("web2"))
	if err != nil {
		t.Fatal(err)
	}
	if spec.Limits.Pids != 77 || spec.XID != guest.AutoXID+1 || spec.Root.Lower[0] != "tiny" {
		t.Errorf("spec: %+v", spec)
	}
	if st, err := seen(t, h, "web2").Stat("etc/mine"); err != nil || st.UID != 33 || st.GID != 44 {
		t.Errorf("mine: %d:%d, %v", st.UID, st.GID, err)
	}
	for _, f := range []string{"etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "etc/hostname"} {
		if content(t, h, "web1", f) == content(t, h, "web2", f) {
			t.Errorf("%s: the clone has the same", f)
		}
	}
	if content(t, h, "web2", "root/.ssh/authorized_keys") != "ssh-ed25519 AAAA me\n" {
		t.Error("the clone lost its keys")
	}
	if err := h.Clone(t.Context(), "nobody", "web3", nil, CloneOptions{}); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("clone of no guest: %v", err)
	}
	for _, n := range []guest.Name{"web1", "web2"} {
		if err := h.Delete(t.Context(), n, DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	left(t, h)
}

// TestBuildAtOnce builds many guests at once, some of one name: each name is one guest,
// all numbers differ, and one image serves all.
func TestBuildAtOnce(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	var wg sync.WaitGroup
	var built atomic.Int32
	for i := range 24 {
		wg.Go(func() {
			n := guest.Name(fmt.Sprintf("web%d", i%8))
			err := h.Build(t.Context(), n, &guest.Spec{}, tiny(), BuildOptions{})
			switch {
			case err == nil:
				built.Add(1)
			case !errors.Is(err, guest.ErrExists) && !errors.Is(err, guest.ErrBusy): // after five seconds
				t.Errorf("%s: %v", n, err)
			}
		})
	}
	wg.Wait()
	if built.Load() != 8 {
		t.Errorf("%d builds went well", built.Load())
	}
	ids, err := store.Records(h.Dirs)
	if err != nil || len(ids) != 8 {
		t.Errorf("numbers: %v, %v", ids, err)
	}
	for i := range 24 {
		wg.Go(func() {
			n := guest.Name(fmt.Sprintf("web%d", i%8))
			if err := h.Delete(t.Context(), n, DeleteOptions{}); err != nil && !errors.Is(err, guest.ErrNotFound) && !errors.Is(err, guest.ErrBusy) {
				t.Errorf("%s: %v", n, err)
			}
		})
	}
	wg.Wait()
	left(t, h)
}

// TestBuildCancelled has the context end in the middle of the work.
func TestBuildCancelled(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	for _, kind := range []guest.RootKind{guest.RootOverlay, guest.RootDir} {
		ctx, cancel := context.WithCancel(t.Context())
		src := tiny()
		whole := src.Fill
		src.Fill = func(ctx context.Context, dir string, p build.Progress) error {
			defer cancel()
			return whole(ctx, dir, p)
		}
		spec := guest.Spec{Root: guest.Root{Kind: kind}}
		if err := h.Build(ctx, "web1", &spec, src, BuildOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", kind, err)
		}
		left(t, h)
	}
}
