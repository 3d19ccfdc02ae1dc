package proto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/seqpacket"
)

// Told is a start that vserverd was told of.
type Told struct {
	dirs  guest.Dirs
	msg   []byte
	files []int
	fd    int
}

// Tell tells vserverd that a guest was started, and has vserverd started when it is
// not there. It does not wait for the answer. pidfd is the guest's init; console is
// the master of its terminal or the read end of its log pipe, -1 for none. Both stay
// the caller's, who keeps them open until Confirm or Close.
func Tell(dirs guest.Dirs, s Start, pidfd, console int) (*Told, error) {
	t := &Told{dirs: dirs, files: []int{pidfd}, fd: -1}
	if console >= 0 {
		t.files = append(t.files, console)
	}
	t.msg = s.Append(append(make([]byte, 0, 128), VerbStart+" "...))
	return t, t.send()
}

func (t *Told) send() (err error) {
	if t.fd, err = dial(t.dirs); err != nil {
		return err
	}
	if err = seqpacket.Send(t.fd, t.msg, t.files...); err != nil {
		t.Close()
		return fmt.Errorf("vserverd: %w", err)
	}
	return nil
}

// Confirm waits until vserverd has put the files where they outlive a crash of its
// own, and releases t. When vserverd died meanwhile, it is told once more. Called
// some time after Tell it costs a system call.
func (t *Told) Confirm() error {
	defer t.Close()
	err := answer(t.fd)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		t.Close()
		if err = t.send(); err == nil {
			err = answer(t.fd)
		}
	}
	return err
}

// Close releases t without waiting: what was sent is on its way.
func (t *Told) Close() {
	if t.fd >= 0 {
		syscall.Close(t.fd)
		t.fd = -1
	}
}

// Started is Tell for who does not want to wait at all.
func Started(dirs guest.Dirs, s Start, pidfd, console int) error {
	t, err := Tell(dirs, s, pidfd, console)
	t.Close()
	return err
}

// answer waits for the answer to a request.
func answer(fd int) error {
	buf := make([]byte, 512)
	n, _, err := seqpacket.Recv(fd, buf)
	if err != nil {
		return fmt.Errorf("vserverd: %w", err)
	}
	return ParseAnswer(buf[:n])
}

// Console is a client's end of a guest's console. Reading gives what the guest
// prints, writing types; at most MaxMessage bytes each time, and with the end of the
// guest (or of vserverd) comes the end of the file.
type Console struct {
	*os.File
	dirs guest.Dirs
	name guest.Name
}

// Attach connects to the console of a guest, beginning with the last lines of its
// log, without control characters. Any number of clients may be attached, and all
// may type. vserverd is started when it is not there.
func Attach(dirs guest.Dirs, name guest.Name, lines int) (*Console, error) {
	fd, err := dial(dirs)
	if err != nil {
		return nil, err
	}
	msg := fmt.Appendf(nil, "%s %s %d", VerbAttach, name, min(max(lines, 0), 65535))
	if err = seqpacket.Send(fd, msg); err == nil {
		err = answer(fd)
	}
	if err == nil {
		err = seqpacket.Patience(fd, 0) // for ever
	}
	if err != nil {
		syscall.Close(fd)
		if errors.Is(err, guest.ErrUnsupported) {
			err = fault.Hint(err, fmt.Sprintf("vserver %s set console.type=tty gives it one from its next start", name))
		}
		return nil, err
	}
	return &Console{os.NewFile(uintptr(fd), "console of "+string(name)), dirs, name}, nil
}

// Resize tells the guest's terminal its window size.
func (c *Console) Resize(rows, cols uint16) error {
	fd, err := seqpacket.Dial(c.dirs.Socket(), patience)
	if err != nil {
		return fmt.Errorf("vserverd: %w", err)
	}
	defer syscall.Close(fd)
	return seqpacket.Send(fd, fmt.Appendf(nil, "%s %s %d %d", VerbResize, c.name, rows, cols))
}

// Watched is what vserverd knows of a guest.
type Watched struct {
	Name    guest.Name
	InitPID int
	Console guest.ConsoleType
	Open    bool // whether the console (or the log's pipe) is in its hands
	Clients int  // attached to the console
}

// List gives the guests that vserverd watches. It starts nothing: with no vserverd
// there, the list is empty.
func List(dirs guest.Dirs) ([]Watched, error) {
	fd, err := seqpacket.Dial(dirs.Socket(), patience)
	if nobody(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("vserverd: %w", err)
	}
	defer syscall.Close(fd)
	if err := seqpacket.Send(fd, []byte(VerbList)); err != nil {
		return nil, fmt.Errorf("vserverd: %w", err)
	}
	var all []Watched
	buf := make([]byte, MaxMessage)
	for {
		n, _, err := seqpacket.Recv(fd, buf)
		if err != nil {
			return all, fmt.Errorf("vserverd: %w", err)
		}
		w, err := ParseWatched(buf[:n])
		if err != nil {
			return all, ParseAnswer(buf[:n])
		}
		all = append(all, w)
	}
}

// Append writes w as the words of an answer to list.
func (w Watched) Append(b []byte) []byte {
	return fmt.Appendf(b, "watched %s %d %s %t %d", w.Name, w.InitPID, w.Console, w.Open, w.Clients)
}

// ParseWatched reads what Append wrote.
func ParseWatched(msg []byte) (w Watched, err error) {
	f := bytes.Fields(msg)
	if len(f) != 6 || string(f[0]) != "watched" {
		return w, fmt.Errorf("answer %q: %w", msg, guest.ErrInvalid)
	}
	w.Name, w.Console = guest.Name(f[1]), guest.ConsoleType(f[3])
	var err1, err2, err3 error
	w.InitPID, err1 = strconv.Atoi(string(f[2]))
	w.Open, err2 = strconv.ParseBool(string(f[4]))
	w.Clients, err3 = strconv.Atoi(string(f[5]))
	return w, errors.Join(err1, err2, err3)
}

// Quit ends vserverd and waits until it has. Guests go on; their terminals are hung
// up, and nobody is there to restart them until vserverd is needed again.
func Quit(dirs guest.Dirs) error {
	fd, err := seqpacket.Dial(dirs.Socket(), patience)
	if nobody(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("vserverd: %w", err)
	}
	defer syscall.Close(fd)
	if err := seqpacket.Send(fd, []byte(VerbQuit)); err != nil {
		return fmt.Errorf("vserverd: %w", err)
	}
	if err := answer(fd); err != nil {
		return err
	}
	_, _, err = seqpacket.Recv(fd, make([]byte, 16))
	if err != io.EOF {
		return fmt.Errorf("vserverd: does not end: %w", err)
	}
	return nil
}
