package image

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
	"vserver/kernel/file"
)

func unpacker(t *testing.T) (u *Unpacker, dir string) {
	t.Helper()
	dir = t.TempDir()
	root, err := file.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return NewUnpacker(Tool{Path: os.Args[0]}, root), dir
}

// worker finds the process of ours that unpacks, once it is enclosed.
func worker(t *testing.T) (pid int, status string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		lists, _ := filepath.Glob("/proc/self/task/*/children")
		for _, l := range lists {
			pids, _ := os.ReadFile(l)
			for _, word := range strings.Fields(string(pids)) {
				text, _ := os.ReadFile("/proc/" + word + "/status")
				line, _ := os.ReadFile("/proc/" + word + "/cmdline")
				if string(line) == "vserver-image\x00unpack\x00" && strings.Contains(string(text), "Seccomp:\t2") {
					pid, _ = strconv.Atoi(word)
					return pid, string(text)
				}
			}
		}
	}
	t.Fatal("nobody unpacks")
	return
}

// TestApart looks at who unpacks while it waits for more: there is nothing of the host that it
// could reach, should an archive have it do something else.
func TestApart(t *testing.T) {
	need.Root(t)
	for _, c := range []struct {
		whole, devices bool
		caps           uint64
	}{{false, false, 0x8000001b}, {true, false, 0x8020001b}, {true, true, 0x8820001b}} {
		u, _ := unpacker(t)
		u.Whole, u.Devices = c.whole, c.devices
		r, w := io.Pipe()
		ended := make(chan error)
		go func() { ended <- u.Tar(t.Context(), NewStream(r, nil)) }()
		w.Write(tarOf(t, "f", strings.Repeat("x", 2000))[:1024])
		pid, status := worker(t)
		for _, want := range []string{"NoNewPrivs:\t1\n", fmt.Sprintf("CapEff:\t%016x\n", c.caps), fmt.Sprintf("CapPrm:\t%016x\n", c.caps)} {
			if !strings.Contains(status, want) {
				t.Errorf("not %q: %s", want, status)
			}
		}
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, p := range threads {
			if text, _ := os.ReadFile(p); !strings.Contains(string(text), fmt.Sprintf("CapEff:\t%016x\n", c.caps)) || !strings.Contains(string(text), "Seccomp:\t2\n") {
				t.Errorf("%s: %s", p, text)
			}
		}
		for _, space := range []string{"mnt", "pid", "net", "ipc", "uts"} {
			own, _ := os.Readlink("/proc/self/ns/" + space)
			if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, space)); err != nil || its == own {
				t.Errorf("namespace %s: %s, %v", space, its, err)
			}
		}
		names, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", pid))
		if err != nil || len(names) != 1 || names[0].Name() != "proc" {
			t.Errorf("its root has %v, %v", names, err)
		}
		if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || len(env) > 0 {
			t.Errorf("its environment is %q, %v", env, err)
		}
		syscall.Kill(pid, syscall.SIGKILL)
		go w.Close()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("it was killed: %v", err)
		}
	}
}

// TestNobodyHears holds that who decodes has nothing of our environment but the proxies.
func TestNobodyHears(t *testing.T) {
	need.Root(t)
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		t.Setenv(name, "") // to have it back
		os.Unsetenv(name)
	}
	t.Setenv("SECRET", "1")
	for proxy, want := range map[string]string{"": "", "http://proxy": "http_proxy=http://proxy\x00"} {
		if os.Unsetenv("http_proxy"); proxy != "" {
			t.Setenv("http_proxy", proxy)
		}
		r, w := io.Pipe()
		c, err := start(t.Context(), Tool{Path: os.Args[0]}, r, nobody, "unzip")
		if err != nil {
			t.Fatal(err)
		}
		var env, line []byte
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			// A program that has just begun has neither yet.
			line, _ = os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.cmd.Process.Pid))
			env, _ = os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.cmd.Process.Pid))
			if len(line) > 0 && string(env) == want {
				break
			}
		}
		if len(line) == 0 || string(env) != want {
			t.Errorf("%q: its environment is %q", line, env)
		}
		w.Close()
		c.end(io.EOF)
	}
}

// TestBehind has archives lie behind each other in a stream, and something else behind them.
func TestBehind(t *testing.T) {
	need.Root(t)
	content := make([]byte, 3<<20)
	rand.New(rand.NewSource(1)).Read(content)
	one, two := tarOf(t, "a", string(content)), tarOf(t, "b", "2")
	sum := sha256.New()
	s := NewStream(bytes.NewReader(slices.Concat(one, two, one, []byte("rest"))), sum)
	u, dir := unpacker(t)
	for i, n := range []int{len(one), len(two)} {
		if err := u.Tar(t.Context(), s); err != nil {
			t.Fatal(i, err)
		}
		want := sha256.Sum256(slices.Concat(one, two)[:n+i*len(one)])
		if got := sum.Sum(nil); !bytes.Equal(got, want[:]) {
			t.Errorf("%d: the sum is not that of what was taken", i)
		}
	}
	if rest, err := io.ReadAll(s); err != nil || !bytes.Equal(rest, slices.Concat(one, []byte("rest"))) {
		t.Errorf("what is left has %d bytes, %v", len(rest), err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a: %d bytes, %v", len(got), err)
	}
	if r := u.Report(); r.Entries != 2 || r.Bytes != 3<<20+1 {
		t.Errorf("%+v", r)
	}
}

// TestSourceFails has an archive end in the middle, and its source fail.
func TestSourceFails(t *testing.T) {
	text := tarOf(t, "a", strings.Repeat("x", 5000))
	broken := errors.New("broken")
	for _, c := range []struct {
		end  error
		want error
	}{{io.EOF, nil}, {broken, broken}} {
		u, _ := unpacker(t)
		r, w := io.Pipe()
		go func() { w.Write(text[:2000]); w.CloseWithError(c.end) }()
		if err := u.Tar(t.Context(), NewStream(r, nil)); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%v: got %v", c.end, err)
		}
	}
}
