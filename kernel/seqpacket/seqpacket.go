// Package seqpacket is unix sockets that carry whole messages, each with open files
// attached if wanted. Descriptors are plain ints, for callers with an event loop.
package seqpacket

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// MaxFiles is how many files a message may carry.
const MaxFiles = 8

// Listen makes a socket at path, which must not exist, for root alone.
func Listen(path string, backlog int) (fd int, err error) {
	fd, err = socket()
	if err != nil {
		return -1, err
	}
	err = at(path, func(sa syscall.Sockaddr) error {
		// No other mode at any moment: fchmod before bind decides the file's.
		if err := syscall.Fchmod(fd, 0o600); err != nil {
			return err
		}
		return syscall.Bind(fd, sa)
	})
	if err == nil {
		err = syscall.Listen(fd, backlog)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, fmt.Errorf("listen %s: %w", path, err)
	}
	return fd, nil
}

// Dial connects to the socket at path. ECONNREFUSED and ENOENT say that nobody
// listens there. The connection, and what is then sent and received, may each take
// as long as patience before it is EAGAIN.
func Dial(path string, patience time.Duration) (fd int, err error) {
	if fd, err = socket(); err != nil {
		return -1, err
	}
	if err = Patience(fd, patience); err == nil {
		err = at(path, func(sa syscall.Sockaddr) error {
			return retry(func() error { return syscall.Connect(fd, sa) })
		})
	}
	if err != nil {
		syscall.Close(fd)
		return -1, fmt.Errorf("connect %s: %w", path, err)
	}
	return fd, nil
}

// Accept takes the next connection of a listening socket; the new descriptor does
// not block.
func Accept(listener int) (fd int, err error) {
	err = retry(func() error {
		fd, _, err = syscall.Accept4(listener, syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
		return err
	})
	return fd, err
}

// Pair makes two connected sockets.
func Pair() (a, b int, err error) {
	p, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return p[0], p[1], nil
}

// PeerUID gives the user of the process that connected, or that listened.
func PeerUID(fd int) (uint32, error) {
	c, err := peer(fd)
	return c.Uid, err
}

// PeerPID gives the process that connected, that listened, or that made the pair.
func PeerPID(fd int) (int, error) {
	c, err := peer(fd)
	return int(c.Pid), err
}

func peer(fd int) (syscall.Ucred, error) {
	c, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return syscall.Ucred{}, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	return *c, nil
}

// Patience bounds how long Send and Recv wait on a blocking socket; afterwards they
// give EAGAIN.
func Patience(fd int, d time.Duration) error {
	tv := syscall.NsecToTimeval(d.Nanoseconds())
	return errors.Join(
		os.NewSyscallError("setsockopt SO_RCVTIMEO", syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &tv)),
		os.NewSyscallError("setsockopt SO_SNDTIMEO", syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &tv)),
	)
}

// Send sends one message with files. The caller keeps its descriptors.
func Send(fd int, msg []byte, files ...int) error {
	var oob []byte
	if len(files) > 0 {
		oob = syscall.UnixRights(files...)
	}
	return retry(func() error {
		_, err := syscall.SendmsgN(fd, msg, oob, nil, syscall.MSG_NOSIGNAL)
		return err
	})
}

// Recv receives one message into buf, and its files, which are the caller's and
// close-on-exec. The end of the connection is io.EOF; a message that did not fit is
// an error, and its files are closed.
func Recv(fd int, buf []byte) (n int, files []int, err error) {
	oob := make([]byte, 0, 64) // room for MaxFiles
	oob = oob[:syscall.CmsgSpace(MaxFiles*4)]
	var oobn, flags int
	err = retry(func() error {
		n, oobn, flags, _, err = syscall.Recvmsg(fd, buf, oob, syscall.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	if oobn > 0 {
		files, err = rights(oob[:oobn])
	}
	switch {
	case err != nil:
	case flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0:
		err = syscall.EMSGSIZE
	case n == 0 && oobn == 0:
		err = io.EOF
	}
	if err != nil {
		for _, f := range files {
			syscall.Close(f)
		}
		return 0, nil, err
	}
	return n, files, nil
}

func rights(oob []byte) (files []int, err error) {
	msgs, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range msgs {
		if fds, err := syscall.ParseUnixRights(&m); err == nil {
			files = append(files, fds...)
		}
	}
	return files, nil
}

func socket() (int, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

// maxPath is the longest path that fits sockaddr_un on every kernel.
const maxPath = 107

// at calls do with the address of path, going through the directory's descriptor
// when the path is too long for one.
func at(path string, do func(syscall.Sockaddr) error) error {
	if len(path) <= maxPath {
		return do(&syscall.SockaddrUnix{Name: path})
	}
	dir, err := syscall.Open(filepath.Dir(path), syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(dir)
	short := "/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(path)
	return do(&syscall.SockaddrUnix{Name: short})
}

// retry calls f again as long as a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}
