package keeper

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Systemd is systemd's file descriptor store, as sd_pid_notify_with_fds(3) and
// FileDescriptorStoreMax= in systemd.service(5) describe it.
type Systemd struct {
	socket int // unconnected datagram socket
	to     syscall.Sockaddr
}

// firstListen is SD_LISTEN_FDS_START.
const firstListen = 3

// OpenSystemd gives the store and what it kept for us, with the sockets that systemd
// listens on. ok is false when systemd is not our parent, or gave no notify socket.
func OpenSystemd() (s *Systemd, files map[string]int, ok bool, err error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil, false, nil
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, false, os.NewSyscallError("socket", err)
	}
	files = map[string]int{}
	if os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		files = listenFiles(os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
	}
	for _, fd := range files {
		syscall.CloseOnExec(fd)
	}
	for _, v := range []string{"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(v) // not for the guests that we start
	}
	return &Systemd{fd, &syscall.SockaddrUnix{Name: path}}, files, true, nil
}

// listenFiles reads what systemd says of the files it passes. Descriptors without a
// name, or with one that was there, are called after their number.
func listenFiles(count, names string) map[string]int {
	files := map[string]int{}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1<<16 {
		return files
	}
	list := strings.Split(names, ":")
	for i := range n {
		name := ""
		if i < len(list) {
			name = list[i]
		}
		if _, twice := files[name]; twice || name == "" {
			name = "fd " + strconv.Itoa(firstListen+i)
		}
		files[name] = firstListen + i
	}
	return files
}

// Put has systemd hold a copy of fd, also when its other end is closed.
func (s *Systemd) Put(name string, fd int) error {
	return s.notify("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, fd)
}

// Drop has systemd close its copy.
func (s *Systemd) Drop(name string) error {
	return s.notify("FDSTOREREMOVE=1\nFDNAME=" + name)
}

// Ready tells systemd that we serve.
func (s *Systemd) Ready() error { return s.notify("READY=1") }

// Stop tells systemd that we end.
func (s *Systemd) Stop() { s.notify("STOPPING=1") }

// Socket is none: systemd asks for nothing.
func (s *Systemd) Socket() int { return -1 }

// Answer is never needed.
func (s *Systemd) Answer() (stop bool, err error) { return false, nil }

func (s *Systemd) notify(msg string, files ...int) error {
	var oob []byte
	if len(files) > 0 {
		oob = syscall.UnixRights(files...)
	}
	for {
		_, err := syscall.SendmsgN(s.socket, []byte(msg), oob, s.to, syscall.MSG_NOSIGNAL)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("systemd: notify: %w", err)
		}
	}
}
