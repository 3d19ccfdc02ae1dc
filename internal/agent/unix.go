package agent

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// unix obeys a command about unix sockets: stream, dgram or seqpacket NAME; bind,
// connect or send NAME ADDRESS, of which an abstract one begins with '@'.
func (a *agent) unix(w []string) error {
	fd, to := a.sockets[w[1]], &unix.SockaddrUnix{Name: w[2]}
	switch w[0] {
	case "stream":
		return a.unixSocket(w[1], unix.SOCK_STREAM)
	case "dgram":
		return a.unixSocket(w[1], unix.SOCK_DGRAM)
	case "seqpacket":
		return a.unixSocket(w[1], unix.SOCK_SEQPACKET)
	case "bind":
		return unix.Bind(fd, to)
	case "connect":
		return unix.Connect(fd, to)
	case "send":
		return unix.Sendto(fd, []byte("hello"), 0, to)
	}
	return fmt.Errorf("no command unix %s", w[0])
}

func (a *agent) unixSocket(name string, sort int) error {
	fd, err := unix.Socket(unix.AF_UNIX, sort|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		a.sockets[name] = fd
	}
	return err
}
