package keeper

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
	"vserver/kernel/seqpacket"
)

// The test binary is a keeper or a worker too: its first argument says so.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "keeper":
			k := New(startAs("worker"), func(string, ...any) {})
			k.Adopt(Inherited)
			k.Run()
			os.Exit(0)
		case "worker":
			work()
		}
	}
	need.Main(m)
}

// startAs starts the test binary in a role.
func startAs(role string) func(*os.File) (*os.Process, error) {
	return func(socket *os.File) (*os.Process, error) {
		return os.StartProcess("/proc/self/exe", []string{"x", role}, &os.ProcAttr{
			Env: os.Environ(), Files: []*os.File{nil, nil, os.Stderr, socket}})
	}
}

// resultVar names the directory where a worker says what it was given.
const resultVar = "VSERVER_TEST_KEEPER"

// work is a worker that writes the names of its files to a file called by its pid,
// puts another file on the first time, and waits for what it is told.
func work() {
	syscall.CloseOnExec(Inherited)
	s, files, err := OpenStore(Inherited, startAs("keeper"))
	if err != nil {
		os.Exit(1)
	}
	names := strings.Join(slices.Sorted(maps.Keys(files)), ",")
	if _, ok := files["put by worker"]; !ok {
		s.Put("put by worker", 0)
		s.Put("dropped", 0)
		s.Drop("dropped")
	}
	path := filepath.Join(os.Getenv(resultVar), strconv.Itoa(os.Getpid()))
	os.WriteFile(path+".new", []byte(names), 0o600)
	os.Rename(path+".new", path)
	for {
		if stop, err := s.Answer(); err != nil || stop {
			s.Stop()
			os.Exit(0)
		}
	}
}

// results are what the workers of a test said, by pid.
func results(t *testing.T, dir string) map[int]string {
	t.Helper()
	out := map[int]string{}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if pid, err := strconv.Atoi(f.Name()); err == nil {
			b, _ := os.ReadFile(filepath.Join(dir, f.Name()))
			out[pid] = string(b)
		}
	}
	return out
}

// await waits for a worker that is not among the known, and gives its pid.
func await(t *testing.T, dir string, known map[int]string) int {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for pid := range results(t, dir) {
			if _, ok := known[pid]; !ok {
				return pid
			}
		}
	}
	t.Fatal("no worker came")
	return 0
}

func TestKeeper(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(resultVar, dir)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	dup, _ := syscall.Dup(int(null.Fd()))
	syscall.CloseOnExec(dup)
	k := New(startAs("worker"), t.Logf)
	k.Hold("first", dup)
	done := make(chan error)
	go func() { done <- k.Run() }()

	known := map[int]string{}
	want := "first"
	for range 3 {
		pid := await(t, dir, known)
		known = results(t, dir)
		if known[pid] != want {
			t.Errorf("worker got %q, want %q", known[pid], want)
		}
		want = "first,put by worker"
		syscall.Kill(pid, syscall.SIGKILL)
	}
	await(t, dir, known)
	k.stopWorker()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, fd := range k.files {
		syscall.Close(fd)
	}
	if fd := k.worker.Load(); fd >= 0 {
		k.bury()
	}
}

// A keeper that dies, or does not read, is replaced by one that holds the same.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(resultVar, dir)
	ours, theirs, err := seqpacket.Pair()
	if err != nil {
		t.Fatal(err)
	}
	seqpacket.Send(ours, []byte(msgReady))
	s, files, err := OpenStore(theirs, startAs("keeper"))
	if err != nil || len(files) != 0 {
		t.Fatal(files, err)
	}
	syscall.Close(s.keeper) // this process, which is not to be killed
	s.keeper = -1
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := s.Put("held", int(null.Fd())); err != nil {
		t.Fatal(err)
	}
	syscall.Close(ours) // the keeper is dead
	if stop, err := s.Answer(); stop || err != nil {
		t.Fatal(stop, err)
	}
	first := s.child
	syscall.Kill(first.Pid, syscall.SIGSTOP)
	for i := 0; s.child == first; i++ {
		if err := s.Put(fmt.Sprint("n", i%10), int(null.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	s.Drop("n3")
	syscall.Shutdown(s.socket, syscall.SHUT_RDWR) // as if we were dead: it starts a worker
	pid := await(t, dir, nil)
	var want []string
	for name := range s.files {
		want = append(want, name)
	}
	slices.Sort(want)
	if got := results(t, dir)[pid]; got != strings.Join(want, ",") {
		t.Errorf("handed over %s, want %s", got, strings.Join(want, ","))
	}
	s.child.Signal(syscall.SIGTERM) // ends its worker too
	s.child.Wait()
	syscall.Close(s.keeper)
	syscall.Close(s.socket)
}

func TestListenFiles(t *testing.T) {
	for _, c := range []struct {
		count, names string
		want         map[string]int
	}{
		{"", "", map[string]int{}},
		{"2", "listen:guest web1 7", map[string]int{"listen": 3, "guest web1 7": 4}},
		{"3", "a:a", map[string]int{"a": 3, "fd 4": 4, "fd 5": 5}},
		{"-1", "a", map[string]int{}},
		{"99999999", "a", map[string]int{}},
	} {
		if got := listenFiles(c.count, c.names); !maps.Equal(got, c.want) {
			t.Errorf("%q %q: %v, want %v", c.count, c.names, got, c.want)
		}
	}
}

// systemd's side of the protocol, as its manual has it.
func TestSystemd(t *testing.T) {
	if _, _, ok, err := OpenSystemd(); ok || err != nil {
		t.Errorf("without systemd: %v, %v", ok, err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	s, files, ok, err := OpenSystemd()
	if !ok || err != nil || len(files) != 0 {
		t.Fatal(files, ok, err)
	}
	defer syscall.Close(s.socket)
	if os.Getenv("NOTIFY_SOCKET") != "" {
		t.Error("the guests would get NOTIFY_SOCKET")
	}
	if err := errors.Join(s.Put("guest web1", 0), s.Drop("guest web1"), s.Ready()); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	for i, want := range []string{"FDSTORE=1\nFDPOLL=0\nFDNAME=guest web1", "FDSTOREREMOVE=1\nFDNAME=guest web1", "READY=1", "STOPPING=1"} {
		buf := make([]byte, 256)
		n, got, err := seqpacket.Recv(fd, buf)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if string(buf[:n]) != want || (len(got) == 1) != (i == 0) {
			t.Errorf("%q with %d files, want %q", buf[:n], len(got), want)
		}
		for _, f := range got {
			syscall.Close(f)
		}
	}
}
