package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/unification"
	"vserver/internal/need"
	"vserver/quota/sized"
)

const mebi = 1 << 20

// imaged is a world on a file system that counts nobody's files.
func imaged(t *testing.T) *world {
	t.Helper()
	need.Root(t)
	need.Overlay(t)
	return worldAt(t, need.Disk(t, "ext4", 512*mebi, ""))
}

// devices waits until no loop device shows an image of the world: a guest's mounts end
// some time after its last process.
func (w *world) devices() {
	w.t.Helper()
	var left []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		left = nil
		files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(text), w.Dirs.Data) {
				left = append(left, f+": "+string(text))
			}
		}
		if len(left) == 0 {
			return
		}
	}
	w.t.Errorf("loop devices left: %q", left)
}

// df is the size of the guest's root in MiB.
func (w *world) df(n guest.Name) (mib int) {
	w.t.Helper()
	out, _ := w.sh(n, "df -m / | tail -n 1")
	if f := strings.Fields(out); len(f) > 4 {
		fmt.Sscan(f[len(f)-5], &mib)
	}
	return mib
}

// Where the disk counts nobody's files, a guest with a limit has them in an image: it sees
// that size, has no more, and gets more while it runs; less is refused in a line.
func TestImage(t *testing.T) {
	w := imaged(t)
	n := w.guest("web1", nil)
	w.start(n)
	w.sh(n, "echo before >/kept; rm /etc/passwd; ln /kept /twin; chown 1000 /kept; dd if=/dev/zero of=/large bs=1M count=24 2>/dev/null")
	if _, err := w.Set(n, []string{"limits.disk=64M"}); !errors.Is(err, guest.ErrRunning) || fault.HintOf(err) == "" {
		t.Errorf("files moved while it runs: %v", err)
	}
	w.stop(n)
	_, err := w.Set(n, []string{"limits.disk=16M"})
	if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "/proc/") || !strings.Contains(fault.HintOf(err), "limits.disk") {
		t.Errorf("more files than room: %v; %s", err, fault.HintOf(err))
	}
	if err := os.Remove(filepath.Join(w.Dirs.Guest(n), "upper/large")); err != nil {
		t.Error(err)
	}
	w.set(n, "limits.disk=64M")
	w.start(n)
	if out, code := w.sh(n, "cat /twin && ! test -e /etc/passwd && stat -c %u%h /kept"); code != 0 || out != "before\n10002\n" {
		t.Errorf("what was there before: %d %q", code, out)
	}
	if got := w.df(n); got < 50 || got > 64 {
		t.Errorf("df: %d MiB", got)
	}
	if out, code := w.fill(n, "/big", 80); code == 0 || !strings.Contains(out, "No space") {
		t.Errorf("more than the limit: %d %s", code, out)
	}
	if st, err := w.Status(n); err != nil || st.Disk == nil || st.Disk.By != "image" || st.Disk.Limit != 64*mebi || st.Disk.Used < 50*mebi {
		t.Errorf("status: %+v %v", st.Disk, err)
	}
	for _, change := range []string{"limits.disk=32M", "limits.disk=", "limits.inodes=30"} {
		if _, err := w.Set(n, []string{change}); !errors.Is(err, guest.ErrUnsupported) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", change, err)
		}
	}
	w.shrinks(n)
	w.stop(n)
	w.devices()
	w.set(n, "hostname=other") // of one that is stopped
	w.start(n)
	if out, _ := w.sh(n, "cat /etc/hostname"); out != "other\n" {
		t.Errorf("host name %q", out)
	}
	w.stop(n)
	if err := w.Delete(t.Context(), n, DeleteOptions{}); err != nil {
		t.Error(err)
	}
	w.devices()
}

// Users and groups have quotas in an image too, live; one that was made without says how it
// gets them.
func TestImageQuota(t *testing.T) {
	w := imaged(t)
	need.VM(t)
	need.Command(t, "tune2fs")
	n := w.guest("web1", nil)
	w.set(n, "limits.disk=64M")
	w.start(n)
	w.must(n, "echo alice:x:1000:1000::/:/bin/sh >>/etc/passwd; echo devs:x:77: >>/etc/group")
	limit := func(k guest.QuotaKind, who string, hard guest.Bytes) error {
		return SetQuota(w.Host, n, k, who, func(q *guest.Quota) { q.Hard = hard })
	}
	write := func() (string, int) {
		return w.run(n, Command{User: "alice", Args: []string{"/bin/sh", "-c", "dd if=/dev/zero of=/tmp/mine bs=64k count=64 2>&1"}})
	}
	if err := errors.Join(limit(guest.QuotaUser, "alice", 2*mebi), limit(guest.QuotaGroup, "devs", mebi)); err != nil {
		t.Fatal(err)
	}
	if out, code := write(); code == 0 || !strings.Contains(out, "uota") {
		t.Errorf("alice above her limit: %d %s", code, out)
	}
	if out, code := w.sh(n, ": >/tmp/theirs; chgrp 77 /tmp/theirs; dd if=/dev/zero of=/tmp/theirs conv=notrunc bs=64k count=64 2>&1"); code == 0 {
		t.Errorf("the group above its limit: %s", out)
	}
	if out, err := w.program("", "web1", "quota"); err != nil || !regexp.MustCompile(`(?m)^user alice +-- +20\d\d +0 +2048 [^$]*^group devs +-- +10\d\d +0 +1024 `).Match(out) {
		t.Errorf("quota: %v\n%s", err, out)
	}
	if err := limit(guest.QuotaUser, "alice", 0); err != nil {
		t.Error(err)
	}
	if out, code := write(); code != 0 {
		t.Errorf("alice without a limit: %s", out)
	}
	w.stop(n)
	w.devices()
	image := filepath.Join(w.Dirs.Guest(n), "disk.img")
	tune := func(features ...string) {
		t.Helper()
		if out, err := exec.Command("tune2fs", append(features, image)...).CombinedOutput(); err != nil {
			t.Fatalf("tune2fs: %v %s", err, out)
		}
	}
	tune("-O", "^quota")
	if err := limit(guest.QuotaUser, "alice", 2*mebi); !errors.Is(err, guest.ErrUnsupported) || !strings.Contains(fault.HintOf(err), "tune2fs -O quota -Q usrquota,grpquota "+image) {
		t.Errorf("an image without: %v, hint %q", err, fault.HintOf(err))
	}
	if out, err := w.program("", "web1", "quota"); err == nil || !strings.Contains(string(out), "guest") || !strings.Contains(string(out), "65536") {
		t.Errorf("what is known all the same: %v\n%s", err, out)
	}
	w.devices()
	tune("-O", "quota", "-Q", "usrquota,grpquota")
	if err := limit(guest.QuotaUser, "alice", 2*mebi); err != nil {
		t.Error(err)
	}
	w.start(n)
	if out, code := write(); code == 0 {
		t.Errorf("alice above her limit: %s", out)
	}
	w.set(n, "limits.disk=80M") // grown with its quotas
	w.stop(n)
	w.devices()
}

// Files in images are unified with those of others: they leave the image, which gives their space
// back to the host, and come back into it if it has room.
func TestImageHashified(t *testing.T) {
	w := imaged(t)
	ctx := t.Context()
	for _, n := range []guest.Name{"web1", "web2"} {
		w.set(w.guest(n, nil), "limits.disk=32M")
		w.start(n)
		w.sh(n, "mkdir -p /opt/app && yes | head -c 12000000 >/opt/app/big && chmod 4755 /opt/app/big && touch -d 2020-01-01 /opt/app/big && echo an own file of mine >/etc/own")
		if h, err := Hashify(ctx, w.Host, n, HashifyOptions{}); err != nil || h.Way != unification.Deferred {
			t.Errorf("%s while it runs: %+v %v", n, h, err)
		}
		w.stop(n)
		h, err := Hashify(ctx, w.Host, n, HashifyOptions{})
		if err != nil || h.Way != unification.Linked || h.Report.Same+h.Report.Joined+h.Report.New == 0 {
			t.Errorf("%s: %+v %v", n, h, err)
		}
		if n == "web2" && h.Report.Same == 0 && h.Report.Joined == 0 {
			t.Errorf("nothing in common: %+v", h.Report)
		}
		if got := w.taken(n); got > 10*mebi {
			t.Errorf("%s: its image takes %v", n, got)
		}
		w.start(n)
		if out, _ := w.sh(n, "stat -c %a%s /opt/app/big; cat /etc/own; yes | head -c 18000000 >/more"); !strings.HasPrefix(out, "475512000000\n") || !strings.HasSuffix(out, "\nan own file of mine\n") {
			t.Errorf("%s has %q", n, out)
		}
		w.stop(n)
	}
	if _, err := Unhashify(ctx, w.Host, "web2", nil); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), "limits.disk") {
		t.Errorf("no room to come back: %v", err)
	}
	w.start("web2")
	if out, _ := w.sh("web2", "stat -c %a%s /opt/app/big; rm /more"); out != "475512000000\n" {
		t.Errorf("then it has %q", out)
	}
	w.stop("web2")
	if u, err := Unhashify(ctx, w.Host, "web2", nil); err != nil || u.Files == 0 {
		t.Errorf("back: %+v %v", u, err)
	}
	w.start("web2")
	if out, _ := w.sh("web2", "stat -c %a%s%u /opt/app/big"); out != "4755120000000\n" || w.taken("web2") < 10*mebi {
		t.Errorf("back: %q, and its image takes %v", out, w.taken("web2"))
	}
	w.stop("web2")
}

// taken is what a guest's image takes of the disk.
func (w *world) taken(n guest.Name) int64 {
	w.t.Helper()
	var st syscall.Stat_t
	unix.Sync() // what is freed is given back with the journal
	if err := syscall.Stat(filepath.Join(w.Dirs.Guest(n), "disk.img"), &st); err != nil {
		w.t.Error(err)
	}
	return st.Blocks * 512
}

// What is in an image goes into snapshots, clones, streams and images as other files do, of
// a guest that runs or not, and comes back into an image or none.
func TestImageMoves(t *testing.T) {
	w := imaged(t)
	n := w.guest("web1", nil)
	w.set(n, "limits.disk=64M")
	ctx := t.Context()
	for _, running := range []bool{true, false} {
		if running {
			w.start(n)
		}
		put := func(text string) {
			t.Helper()
			from := filepath.Join(t.TempDir(), "mine")
			err := os.WriteFile(from, []byte(text), 0o644)
			if err == nil {
				err = CopyFiles(ctx, w.Host, []CopyPlace{{Path: from}}, CopyPlace{Guest: n, Path: "/etc/mine"}, CopyOptions{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		has := func(g guest.Name, want string, image bool) {
			t.Helper()
			to := filepath.Join(t.TempDir(), "mine")
			err := CopyFiles(ctx, w.Host, []CopyPlace{{Guest: g, Path: "/etc/mine"}}, CopyPlace{Path: to}, CopyOptions{})
			if text, rerr := os.ReadFile(to); err != nil || rerr != nil || string(text) != want {
				t.Errorf("running %v: %s has %q, %v", running, g, text, err)
			}
			if there, err := sized.There(w.Dirs.Guest(g)); err != nil || there != image {
				t.Errorf("running %v: %s has an image: %v, %v", running, g, there, err)
			}
		}
		put("first")
		s, err := TakeSnapshot(ctx, w.Host, n, fmt.Sprint("first", running))
		if err != nil {
			t.Fatal(err)
		}
		put("second")
		text, err := vserver(t, w.root, nil, "export", string(n))
		err = errors.Join(err, w.Clone(ctx, n, "web2", nil, CloneOptions{}), w.Clone(ctx, n, "web3", nil, CloneOptions{Snapshot: s.Name}))
		for g, limit := range map[string]string{"web4": "limits.disk=32M", "web5": "limits.disk="} {
			_, ierr := vserver(t, w.root, text, "import", g, "-", "--new-identity", "--set", limit)
			err = errors.Join(err, ierr)
		}
		if err != nil {
			t.Fatal(err)
		}
		if running {
			w.stop(n)
		}
		has(n, "second", true)
		if _, err := Rollback(ctx, w.Host, n, s.Name); err != nil {
			t.Fatal(err)
		}
		has(n, "first", true)
		has("web2", "second", true)
		has("web3", "first", true)
		has("web4", "second", true)
		has("web5", "second", false)
		for _, g := range []guest.Name{"web2", "web3", "web4", "web5"} {
			if err := w.Delete(ctx, g, DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	w.devices()
}

// shrinks sees that the host gets back what the guest deletes.
func (w *world) shrinks(n guest.Name) {
	w.t.Helper()
	taken := func() int64 {
		info, err := os.Stat(filepath.Join(w.Dirs.Guest(n), "disk.img"))
		if err != nil {
			w.t.Fatal(err)
		}
		return need.Blocks(info)
	}
	before := taken()
	w.sh(n, "rm /big; sync")
	if after := taken(); after > before-40*mebi {
		w.t.Errorf("the image takes %d bytes, %d before 60 MiB were deleted", after, before)
	}
}

// An image grows under a guest that runs, and under one that does not.
func TestImageGrows(t *testing.T) {
	w := imaged(t)
	need.Resources(t)
	n := w.guest("web1", nil)
	w.set(n, "limits.disk=64M")
	w.start(n)
	w.set(n, "limits.disk=128M")
	if got := w.df(n); got < 100 || got > 128 {
		t.Errorf("df after growth: %d MiB", got)
	}
	if out, code := w.fill(n, "/big", 80); code != 0 {
		t.Errorf("less than the raised limit: %s", out)
	}
	w.stop(n)
	w.set(n, "limits.disk=160M")
	w.start(n)
	if got := w.df(n); got < 129 || got > 160 {
		t.Errorf("df after growth while it was stopped: %d MiB", got)
	}
	if out, _ := w.sh(n, "ls -s /big"); !strings.HasPrefix(strings.TrimSpace(out), "8") {
		t.Errorf("what was there before: %s", out)
	}
	w.stop(n)
}

// An image is made with the guest, with so many inodes, and counts against the host's
// reserve.
func TestImageBuilt(t *testing.T) {
	w := imaged(t)
	mustBuild(t, w.Host, "web1", guest.Spec{Limits: guest.Limits{Disk: 64 * mebi, Inodes: 2000}})
	st, err := w.Status("web1")
	if err != nil || st.Disk == nil || st.Disk.By != "image" || st.Disk.Most < 2000 || st.Disk.Most > 2032 || st.Disk.Inodes < 4 {
		t.Errorf("%+v %v", st.Disk, err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(w.Dirs.Reserve()), 0o755), os.WriteFile(w.Dirs.Reserve(), []byte("480M\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Start(t.Context(), "web1", StartOptions{}); err == nil || !strings.Contains(err.Error(), "reserve") {
		t.Errorf("start into the reserve: %v", err)
	}
	for _, limits := range []guest.Limits{{Disk: 1 * mebi}, {Inodes: 100}} {
		err := w.Build(t.Context(), "web2", &guest.Spec{Limits: limits}, tiny(), BuildOptions{})
		if err == nil {
			t.Errorf("%+v: built", limits)
		}
	}
	if err := errors.Join(w.Delete(t.Context(), "web1", DeleteOptions{}), os.RemoveAll(filepath.Dir(filepath.Dir(w.Dirs.Reserve())))); err != nil {
		t.Error(err)
	}
	left(t, w.Host)
	w.devices()
}
