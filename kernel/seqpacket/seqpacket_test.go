package seqpacket

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// pair gives two connected sockets that live as long as the test.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(a); syscall.Close(b) })
	return a, b
}

func TestFilesTravel(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Send(a, []byte("two"), int(w.Fd()), int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	w.Close()
	buf := make([]byte, 16)
	n, files, err := Recv(b, buf)
	if err != nil || string(buf[:n]) != "two" || len(files) != 2 {
		t.Fatalf("Recv = %q, %v, %v", buf[:n], files, err)
	}
	for _, f := range files {
		if _, err := syscall.Write(f, []byte("x")); err != nil {
			t.Error(err)
		}
		syscall.Close(f)
	}
	if all, _ := io.ReadAll(r); string(all) != "xx" {
		t.Errorf("through the files came %q", all)
	}
}

func TestLimits(t *testing.T) {
	a, b := pair(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	many := slices.Repeat([]int{int(null.Fd())}, MaxFiles+1)

	Send(a, []byte("long message"))
	if _, _, err := Recv(b, make([]byte, 4)); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("a message that does not fit: %v", err)
	}
	Send(a, []byte("all"), many[:MaxFiles]...)
	n, files, err := Recv(b, make([]byte, 16))
	if n != 3 || len(files) != MaxFiles || err != nil {
		t.Errorf("%d bytes, %d files, %v", n, len(files), err)
	}
	for _, f := range files {
		syscall.Close(f)
	}
	Send(a, []byte("many"), many...)
	if _, files, err := Recv(b, make([]byte, 16)); err == nil {
		t.Errorf("too many files: took %v", files) // and Main would see them open
	}
	syscall.Shutdown(a, syscall.SHUT_WR)
	if _, _, err := Recv(b, make([]byte, 16)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestListen(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{t.TempDir(), long} {
		path := filepath.Join(dir, "s")
		if _, err := Dial(path, time.Second); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("nothing there: %v", err)
		}
		l, err := Listen(path, 4)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("socket file: %v, %v", st.Mode(), err)
		}
		c, err := Dial(path, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Accept(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range []int{c, s} {
			if uid, err := PeerUID(fd); err != nil || uid != uint32(os.Getuid()) {
				t.Errorf("peer is user %d, %v", uid, err)
			}
		}
		if _, _, err := Recv(s, make([]byte, 4)); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("accepted socket, nothing sent: %v", err)
		}
		for _, fd := range []int{c, s, l} {
			syscall.Close(fd)
		}
		if _, err := Dial(path, time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody there: %v", err)
		}
	}
}

func TestPatience(t *testing.T) {
	a, _ := pair(t)
	if err := Patience(a, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, _, err := Recv(a, make([]byte, 4)); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("Recv: %v", err)
	}
	if d := time.Since(begin); d < 15*time.Millisecond || d > 5*time.Second {
		t.Errorf("waited %v", d)
	}
}
