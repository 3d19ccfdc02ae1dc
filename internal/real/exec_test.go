package real_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// small makes and starts a guest with the host's programs that sleeps.
func (w *world) small(t testing.TB, n string, options ...string) {
	t.Helper()
	args := append([]string{"create", n, "-m", "host", "--network", "none", "--init", "command", "--command", "/bin/sleep", "--command", "infinity"}, options...)
	w.do(t, args...)
}

// TestExec runs commands in a guest.
func TestExec(t *testing.T) {
	w := newWorld(t)
	w.small(t, "web1")
	t.Run("codes", w.codes)
	t.Run("signals", w.signals)
	t.Run("sums", w.sums)
	t.Run("reader leaves", w.readerLeaves)
	t.Run("pipe", w.pipe)
}

// zeros is a stream of n zero bytes, with a mark at its end.
func zeros(n int64) io.Reader {
	return io.MultiReader(io.LimitReader(zero{}, n), strings.NewReader("the end\n"))
}

type zero struct{}

func (zero) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// pipe has 10 GiB go into a guest and out again, byte for byte.
func (w *world) pipe(t *testing.T) {
	size := int64(10 << 30)
	if testing.Short() {
		size = 1 << 30
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := w.command(ctx, "exec", "web1", "cat")
	c.Stdin = nil
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		io.CopyBuffer(in, struct{ io.Reader }{zeros(size)}, make([]byte, 1<<20))
		in.Close()
	}()
	got, last, err := count(out)
	if err != nil || got != size+int64(len("the end\n")) || last != "the end\n" {
		t.Errorf("%d bytes came back, the last of them %q, %v", got, last, err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%.1f GiB/s", float64(size)/(1<<30)/time.Since(began).Seconds())
}

// count reads to the end and gives the number of bytes and the last 8 of them.
func count(r io.Reader) (n int64, last string, err error) {
	buf := make([]byte, 1<<20)
	for {
		m, err := r.Read(buf)
		n += int64(m)
		if m > 0 {
			last += string(buf[max(0, m-8):m])
			last = last[max(0, len(last)-8):]
		}
		if err == io.EOF {
			return n, last, nil
		}
		if err != nil {
			return n, last, err
		}
	}
}

// sums sends data that is not all the same.
func (w *world) sums(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef\n"), 1<<20)
	sum := md5.Sum(data)
	if r := w.feed(string(data), "exec", "web1", "md5sum"); !strings.HasPrefix(r.out, hex.EncodeToString(sum[:])) {
		t.Errorf("the guest counts %s%s, want %x", r.out, r.err, sum)
	}
}

// codes sees what a command in a guest gets from us, and gives back.
func (w *world) codes(t *testing.T) {
	for script, code := range map[string]int{
		"exit 0": 0, "exit 7": 7, "exit 255": 255, "kill -TERM $$": 143, "kill -KILL $$": 137,
	} {
		if r := w.run("exec", "web1", "sh", "-c", script); r.code != code || r.err != "" {
			t.Errorf("%s: exit code %d, want %d: %s", script, r.code, code, r.err)
		}
	}
	for command, code := range map[string]int{"no-such-command": 127, "/no/such": 127, "/etc/passwd": 126, "/": 126} {
		w.refused(t, code, command, "exec", "web1", command)
	}
	if r := w.run("exec", "web1", "sh", "-c", "echo out; echo err >&2; tty"); r.out != "out\nnot a tty\n" || r.err != "err\n" || r.code != 1 {
		t.Errorf("%+v", r)
	}
	if r := w.run("exec", "web1", "--", "sh", "-c", `printf '%s|' "$@"`, "sh", "a b", "", "*", "-x"); r.out != "a b||*|-x|" {
		t.Errorf("arguments arrive as %q", r.out)
	}
}

// readerLeaves has the other end of a pipe closed early: the command gets SIGPIPE,
// as it would on the host.
func (w *world) readerLeaves(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := w.command(ctx, "exec", "web1", "yes")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 100000)); err != nil {
		t.Fatal(err)
	}
	out.Close()
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGPIPE) {
		t.Errorf("ends with %v, want 141", err)
	}
	eventually(t, 10*time.Second, w.says("web1", "pgrep yes || echo none", "none"))
}

// signals has signals that the program gets arrive at the command.
func (w *world) signals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		c := w.command(t.Context(), "exec", "web1", "sh", "-c", fmt.Sprintf("trap 'echo got it; exit 9' %d; echo ready; while :; do sleep 0.1; done", sig))
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
			t.Fatal(err)
		}
		if err := c.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(out)
		c.Wait()
		if string(rest) != "got it\n" || c.ProcessState.ExitCode() != 9 {
			t.Errorf("%v: %q, %v", sig, rest, c.ProcessState)
		}
	}
}
