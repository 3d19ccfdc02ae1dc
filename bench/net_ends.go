package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// netVariable makes this program one end of a measurement: "serve KIND ADDRESS", "use KIND
// ADDRESS", or both ends: "both all ADDRESS".
const netVariable = "VSERVER_BENCH_NET"

// netPort is the port of all servers.
const netPort = 4000

// netEnd plays one end and ends the process, if that is what it was started for.
func netEnd() {
	f := strings.Fields(os.Getenv(netVariable))
	if len(f) != 3 {
		return
	}
	var one unix.CPUSet
	one.Set(0)
	err := unix.SchedSetaffinity(0, &one)
	at := &unix.SockaddrInet4{Port: netPort, Addr: netip.MustParseAddr(f[2]).As4()}
	if err == nil && f[0] == "serve" {
		err = serve(f[1], at)
	} else if err == nil && f[0] == "both" {
		err = bothEnds(f[2])
	} else if err == nil {
		var each time.Duration
		each, err = use(f[1], at)
		fmt.Println(float64(each.Nanoseconds()) / 1000)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, strings.Join(f, " ")+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve answers until it is killed.
func serve(kind string, at *unix.SockaddrInet4) error {
	sort := unix.SOCK_STREAM
	if kind == "udp" || kind == "sendto" {
		sort = unix.SOCK_DGRAM
	}
	s, err := unix.Socket(unix.AF_INET, sort, 0)
	if err == nil {
		err = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(s, at)
	}
	if err == nil && sort == unix.SOCK_STREAM {
		err = unix.Listen(s, 64)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	b := make([]byte, 1<<16)
	switch kind {
	case "sendto":
		return unix.Pause()
	case "udp":
		for {
			n, from, err := unix.Recvfrom(s, b, 0)
			if err == nil {
				err = unix.Sendto(s, b[:n], 0, from)
			}
			if err != nil {
				return err
			}
		}
	}
	for {
		c, _, err := unix.Accept(s)
		if err != nil {
			return err
		}
		if kind == "tcp" {
			unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}
		for kind != "connect" {
			n, err := unix.Read(c, b)
			if n <= 0 || err != nil {
				break
			}
			if kind == "tcp" {
				unix.Write(c, b[:n])
			}
		}
		unix.Close(c)
	}
}

// use gives the time of one exchange.
func use(kind string, at *unix.SockaddrInet4) (time.Duration, error) {
	times := map[string]int{"tcp": 10000, "udp": 10000, "sendto": 50000, "connect": 3000, "stream": 400}[kind]
	if kind == "connect" {
		begin := time.Now()
		for range times {
			s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err == nil {
				err = errors.Join(unix.Connect(s, at), ended(s), unix.Close(s))
			}
			if err != nil {
				return 0, err
			}
		}
		return time.Since(begin) / time.Duration(times), nil
	}
	sort := unix.SOCK_STREAM
	if kind == "udp" || kind == "sendto" {
		sort = unix.SOCK_DGRAM
	}
	s, err := unix.Socket(unix.AF_INET, sort, 0)
	if err == nil && sort == unix.SOCK_STREAM {
		err = unix.Connect(s, at)
		unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err != nil {
		return 0, err
	}
	b := make([]byte, 1)
	if kind == "stream" {
		b = make([]byte, 1<<20)
	}
	var begin time.Time
	for i := range times + times/10 {
		if i == times/10 {
			begin = time.Now()
		}
		if sort == unix.SOCK_DGRAM {
			err = unix.Sendto(s, b, 0, at)
		} else {
			_, err = unix.Write(s, b)
		}
		if err == nil && (kind == "tcp" || kind == "udp") {
			_, err = unix.Read(s, b)
		}
		if err != nil {
			return 0, err
		}
	}
	return time.Since(begin) / time.Duration(times), nil
}

// ended waits for the other side to close, so that it is the one that keeps the port.
func ended(s int) error {
	_, err := unix.Read(s, make([]byte, 1))
	return err
}
