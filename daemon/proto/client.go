package proto

import (
	"bytes"
	"errors"
	"fmt"
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
	msg   string
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
	t.msg = string(s.Append(append(make([]byte, 0, 128), VerbStart+" "...)))
	return t, t.send()
}

// TellView hands vserverd the connection of a guest's view, which is answered from then
// on. It does not wait for the answer, as Tell.
func TellView(dirs guest.Dirs, name guest.Name, init, connection int) (*Told, error) {
	t := &Told{dirs: dirs, files: []int{connection}, fd: -1, msg: fmt.Sprintf("%s %s %d", VerbViews, name, init)}
	return t, t.send()
}

// send sends the message, to the next vserverd when one dies at that moment.
func (t *Told) send() (err error) {
	t.fd, err = ask(func() (int, error) { return dial(t.dirs) }, t.msg, true, func(int) error { return nil }, t.files...)
	return err
}

// Confirm waits until vserverd has put the files where they outlive a crash of its
// own, and releases t. When vserverd died meanwhile, the next is told. Called some
// time after Tell it costs a system call.
func (t *Told) Confirm() error {
	defer t.Close()
	err := answer(t.fd)
	for range retries {
		if !broken(err) {
			break
		}
		t.Close()
		if err = t.send(); err == nil {
			err = answer(t.fd)
		}
	}
	return err
}

// retries is how often in a row vserverd may die while it is asked something.
const retries = 5

// Close releases t without waiting: what was sent is on its way.
func (t *Told) Close() {
	if t.fd >= 0 {
		syscall.Close(t.fd)
		t.fd = -1
	}
}

// Serves tells vserverd of a server of a guest's sockets, which it replaces when that
// dies: files are those of a facade.Tree, and stay the caller's. It does not wait.
func Serves(dirs guest.Dirs, name guest.Name, files []int) error {
	_, err := ask(func() (int, error) { return dial(dirs) }, VerbServes+" "+string(name), false,
		func(int) error { return nil }, files...)
	return err
}

// CallsOf is the message that goes with the files of TellCalls.
func CallsOf(name guest.Name) string { return VerbCalls + " " + string(name) }

// TellCalls hands vserverd the listener of a filter that leaves system calls to it, and a
// pidfd of the guest's init. It does not wait for the answer, as Tell.
func TellCalls(dirs guest.Dirs, name guest.Name, listener, init int) (*Told, error) {
	t := &Told{dirs: dirs, files: []int{listener, init}, fd: -1, msg: CallsOf(name)}
	return t, t.send()
}

// answer waits for the answer to a request.
func answer(fd int) error {
	buf := make([]byte, 512)
	n, _, err := seqpacket.Recv(fd, buf)
	if err != nil {
		return of(err)
	}
	return ParseAnswer(buf[:n])
}

// of says whose an error is, and of a wait that was too long not what the kernel calls it.
func of(err error) error {
	if errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("vserverd: no answer in %v: %w", Patience, os.ErrDeadlineExceeded)
	}
	return fmt.Errorf("vserverd: %w", err)
}

// ask sends a request and waits for its answer; reply reads that. The connection is
// closed unless keep is true and nothing went wrong.
func ask(dial func() (int, error), msg string, keep bool, reply func(fd int) error, files ...int) (fd int, err error) {
	for range retries {
		if fd, err = dial(); err != nil {
			return -1, err
		}
		if err = seqpacket.Send(fd, []byte(msg), files...); err != nil {
			err = of(err)
		} else {
			err = reply(fd)
		}
		if err == nil && keep {
			return fd, nil
		}
		syscall.Close(fd)
		if !broken(err) {
			break
		}
	}
	return -1, err
}

// awake asks a vserverd that is there; there need not be one.
func awake(dirs guest.Dirs, msg string, reply func(fd int) error) error {
	dial := func() (int, error) {
		fd, err := seqpacket.Dial(dirs.Socket(), Patience)
		if err != nil {
			err = of(err)
		}
		return fd, err
	}
	if _, err := ask(dial, msg, false, reply); !nobody(err) {
		return err
	}
	return nil
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
	msg := fmt.Sprintf("%s %s %d", VerbAttach, name, min(max(lines, 0), 65535))
	fd, err := ask(func() (int, error) { return dial(dirs) }, msg, true, answer)
	if err != nil {
		if errors.Is(err, ErrNoConsole) {
			err = fault.Hint(err, fmt.Sprintf("vserver %s set console.type=tty gives it one from its next start", name))
		}
		return nil, err
	}
	if err := seqpacket.Patience(fd, 0); err != nil { // for ever
		syscall.Close(fd)
		return nil, err
	}
	return &Console{os.NewFile(uintptr(fd), "console of "+string(name)), dirs, name}, nil
}

// Resize tells the guest's terminal its window size.
func (c *Console) Resize(rows, cols uint16) error {
	return awake(c.dirs, fmt.Sprintf("%s %s %d %d", VerbResize, c.name, rows, cols), func(int) error { return nil })
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
	var all []Watched
	err := awake(dirs, VerbList, func(fd int) error {
		all = nil
		for buf := make([]byte, MaxMessage); ; {
			n, _, err := seqpacket.Recv(fd, buf)
			if err != nil {
				return err
			}
			w, err := ParseWatched(buf[:n])
			if err != nil {
				return ParseAnswer(buf[:n])
			}
			all = append(all, w)
		}
	})
	return all, err
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
	return awake(dirs, VerbQuit, func(fd int) error {
		if err := answer(fd); err != nil {
			return err
		}
		seqpacket.Recv(fd, make([]byte, 16)) // the connection ends with it
		return nil
	})
}

// Renew has a new process of the newest version take vserverd's place. Nobody notices
// but clients attached to consoles, who are sent away.
func Renew(dirs guest.Dirs) error { return awake(dirs, VerbRenew, answer) }
