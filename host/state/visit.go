package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
	"vserver/kernel/mount"
)

// Visit says that somebody outside has files of a guest that runs open, and writes them by
// its mounts, until leave is called or the process ends. Whoever visits looks after that
// whether the guest still runs, and leaves at once when it ends.
func Visit(d guest.Dirs, n guest.Name) (leave func(), err error) {
	dir, err := file.OpenDir(d.State(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Absent(d, n)
	}
	if err != nil {
		return nil, err
	}
	if err := dir.Share(); err != nil {
		dir.Close()
		if errors.Is(err, file.ErrLocked) {
			err = Absent(d, n) // it is being looked at as one that does not run
		}
		return nil, err
	}
	return func() { dir.Close() }, nil
}

// Free refuses a guest, which does not run and whose lock is held, while its files are
// written to otherwise: by a visitor that has not heard of its end, or where they are
// mounted. Two overlays that write to one tree ruin it.
func Free(d guest.Dirs, n guest.Name) error {
	m, err := Mounted(d, n)
	if err != nil {
		return err
	}
	if m != nil && m.Writable {
		return fault.Hint(fmt.Errorf("its files are mounted at %s to be written: %w", m.Dir, guest.ErrBusy), "vserver "+string(n)+" umount")
	}
	dir, err := file.OpenDir(d.State(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	const pause = 2 * time.Millisecond
	for end := time.Now().Add(Patience); ; time.Sleep(pause) {
		if err = dir.Seize(); err == nil || !errors.Is(err, file.ErrLocked) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("files are being copied to it or from it: %w", guest.ErrBusy)
		}
	}
}

// View is a place of the host's where the files of a guest are mounted.
type View struct {
	ID       uint64 // of the mount, as in /proc/self/mountinfo
	Dir      string
	Writable bool
}

func viewPath(d guest.Dirs, n guest.Name) string { return d.State(n) + "/mounted" }

// NoteView notes a mount that is about to be attached.
func NoteView(d guest.Dirs, n guest.Name, v View) error {
	if err := os.MkdirAll(d.State(n), 0o700); err != nil {
		return err
	}
	how := "ro"
	if v.Writable {
		how = "rw"
	}
	return file.Replace(viewPath(d, n), fmt.Appendf(nil, "%d %s %s\n", v.ID, how, v.Dir), 0o600)
}

// ForgetView removes the note.
func ForgetView(d guest.Dirs, n guest.Name) error {
	err := os.Remove(viewPath(d, n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Mounted tells where the files of a guest are mounted; nil when they are not. What the
// note says counts only if the kernel has such a mount.
func Mounted(d guest.Dirs, n guest.Name) (*View, error) {
	text, err := os.ReadFile(viewPath(d, n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	id, rest, _ := strings.Cut(strings.TrimSuffix(string(text), "\n"), " ")
	how, dir, _ := strings.Cut(rest, " ")
	v := &View{Dir: dir, Writable: how == "rw"}
	if v.ID, err = strconv.ParseUint(id, 10, 64); err != nil {
		return nil, fmt.Errorf("%s: %w", viewPath(d, n), guest.ErrInvalid)
	}
	there, err := mount.At(v.Dir, v.ID)
	if err != nil || there {
		return v, err
	}
	return nil, nil
}
