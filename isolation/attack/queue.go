package attack

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unread are attacks on the memory that all sockets share (net.ipv4.tcp_mem).
func unread() []Attack {
	return []Attack{{"C", 31, "keep more in sockets than memory", queue, nil, func(g *Ground) string {
		if g.Memory == 0 {
			return "nobody counts memory of guests on this host"
		}
		return ""
	}}}
}

// queue has another process do it, which the kernel may kill when memory is short.
func queue(g *Ground) (string, error) {
	words, err := json.Marshal(g)
	if err != nil {
		return "", err
	}
	c := exec.Command("/proc/self/exe", "queue", string(words))
	c.Args[0] = Name
	out, err := c.Output()
	if err != nil && c.ProcessState == nil {
		return "", err
	}
	sum := 0
	for line := range strings.Lines(string(out)) {
		if sum, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
			return "", fmt.Errorf("%q: %w", line, err)
		}
	}
	if sum <= bound(g) {
		return "", errNothing
	}
	return fmt.Sprintf("%d MiB", sum>>20), nil
}

// bound is what a guest may have in sockets, with what the kernel promises to each.
func bound(g *Ground) int {
	const uncounted = 64 << 20
	return max(g.Memory+g.Memory/4, uncounted)
}

// queues sends to connections of its own on which nobody reads, some megabytes to each, and
// prints how much the kernel took so far.
func queues(g *Ground, out io.Writer) int {
	const connections = 150
	err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	l := -1
	if err == nil {
		l, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err == nil {
		err = unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = unix.Listen(l, 1)
	}
	data, sum := make([]byte, 1<<20), 0
	for n := 0; err == nil && n < connections && sum <= bound(g); n++ {
		var more int
		more, err = fill(l, data)
		sum += more
		fmt.Fprintln(out, sum)
	}
	return 0
}

// fill makes one more connection to l, and gives how much that takes.
func fill(l int, data []byte) (sum int, err error) {
	at, err := unix.Getsockname(l)
	if err != nil {
		return 0, err
	}
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(c, at)
	}
	if err == nil {
		_, _, err = unix.Accept(l)
	}
	if err == nil {
		err = unix.SetNonblock(c, true)
	}
	for err == nil {
		n, full := unix.Write(c, data)
		if full != nil {
			break
		}
		sum += n
	}
	return sum, err
}
