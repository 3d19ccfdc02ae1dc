package agent

import (
	"errors"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// several obeys what is asked of many sockets of one name:
//
//	many NAME ADDRESS COUNT   binds some of TCP at ports one after the other, and says how far it got
//	datagrams, listeners      do so with some of UDP, and with some that listen
//	none NAME                 closes them
//	late COUNT                binds one of TCP for both families to [::] without a port, and closes it, so often
func (a *agent) several(w []string) (string, error) {
	name := w[1]
	switch w[0] {
	case "late":
		return late(w[1])
	case "none":
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
	kind := unix.SOCK_STREAM
	if w[0] == "datagrams" {
		kind = unix.SOCK_DGRAM
	}
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()) + i, Addr: at.Addr().As4()}); err != nil {
			return strconv.Itoa(i), unix.Close(fd)
		}
		if w[0] == "listeners" {
			if err := unix.Listen(fd, 1); err != nil {
				return "", errors.Join(err, unix.Close(fd))
			}
		}
		a.many[name] = append(a.many[name], fd)
	}
	return w[3], nil
}

func late(count string) (string, error) {
	n, err := strconv.Atoi(count)
	if err != nil {
		return "", err
	}
	for range n {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet6{})
		}
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return "", err
		}
	}
	return count, nil
}
