package agent

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// several obeys what is asked of many sockets of one name:
//
//	many NAME ADDRESS COUNT   binds some of TCP at ports one after the other, and says how far it got
//	none NAME                 closes them
func (a *agent) several(w []string) (string, error) {
	name := w[1]
	if w[0] == "none" {
		for _, fd := range a.many[name] {
			unix.Close(fd)
		}
		delete(a.many, name)
		return "ok", nil
	}
	at, err := netip.ParseAddrPort(w[2])
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(w[3])
	if err != nil {
		return "", err
	}
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()) + i, Addr: at.Addr().As4()}); err != nil {
			return strconv.Itoa(i), unix.Close(fd)
		}
		a.many[name] = append(a.many[name], fd)
	}
	return w[3], nil
}
