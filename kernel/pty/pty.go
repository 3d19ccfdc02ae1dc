// Package pty is the kernel's pseudo terminals: a master, held by who plays the
// user, and a slave, which is the terminal of the programs.
package pty

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pair is a new pseudo terminal of the host's devpts. The slave is not the caller's
// controlling terminal. Both are close-on-exec, and both are the caller's to close.
type Pair struct {
	Master, Slave *os.File
	// Path is the slave's name on the host, "/dev/pts/5".
	Path string
}

// Open makes a pseudo terminal with the window size rows by cols; 0 by 0 is "not
// known", as on a serial line.
func Open(rows, cols uint16) (Pair, error) {
	m, err := open("/dev/ptmx")
	if err != nil {
		return Pair{}, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	p, err := pair(m, rows, cols)
	if err != nil {
		m.Close()
		return Pair{}, err
	}
	return p, nil
}

func pair(m *os.File, rows, cols uint16) (Pair, error) {
	fd := int(m.Fd())
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		return Pair{}, fmt.Errorf("pseudo terminal: number: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return Pair{}, fmt.Errorf("pseudo terminal: unlock: %w", err)
	}
	if err := Resize(fd, rows, cols); err != nil {
		return Pair{}, err
	}
	s, err := Peer(fd)
	if err != nil {
		return Pair{}, err
	}
	path := "/dev/pts/" + strconv.Itoa(int(n))
	return Pair{Master: m, Slave: os.NewFile(uintptr(s), path), Path: path}, nil
}

// Peer opens the slave of a master by the master alone (TIOCGPTPEER): no path is
// walked that somebody could have bent, and the devpts may be that of a guest.
func Peer(master int) (slave int, err error) {
	err = retry(func() error {
		n, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if e != 0 {
			return e
		}
		slave = int(n)
		return nil
	})
	if err != nil {
		return -1, fmt.Errorf("pseudo terminal: open slave: %w", err)
	}
	return slave, nil
}

// Resize tells the terminal its window size; its foreground processes get SIGWINCH
// when that is news. It works on master and slave alike.
func Resize(fd int, rows, cols uint16) error {
	w := unix.Winsize{Row: rows, Col: cols}
	if err := retry(func() error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &w) }); err != nil {
		return fmt.Errorf("terminal: window size: %w", err)
	}
	return nil
}

// Size gives the window size of a terminal.
func Size(fd int) (rows, cols uint16, err error) {
	w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, fmt.Errorf("terminal: window size: %w", err)
	}
	return w.Row, w.Col, nil
}

// IsTerminal tells whether f is a terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func open(path string) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// retry calls f again as long as a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
