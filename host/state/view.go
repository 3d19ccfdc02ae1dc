package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
	"vserver/kernel/mount"
)

// View is a place where the files of a guest are mounted.
type View struct {
	ID       uint64 // of the mount, as in /proc/self/mountinfo
	Dir      string
	Writable bool
	// Process, when not 0, is one in whose mount namespace the mount is, which is not ours.
	Process int
	// Lost says that it is at that place no more, and yet somebody can write there: by a
	// file that is open, or by a copy of the mount.
	Lost bool
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
func ForgetView(d guest.Dirs, n guest.Name) error { return file.Forget(viewPath(d, n)) }

// Mounted tells where the files of a guest are mounted; nil when they are not. What the
// note says counts only if the kernel has such a mount, in whatever mount namespace.
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
	if v.Process, err = mount.Elsewhere(v.Dir, v.ID); err != nil || v.Process != 0 {
		return v, err
	}
	if v.Writable {
		v.Lost, err = written(d, n)
	}
	if err != nil || v.Lost {
		return v, err
	}
	return nil, nil
}

// written tells whether an overlay writes to the files of a guest that does not run.
func written(d guest.Dirs, n guest.Name) (bool, error) {
	f, err := os.Open(filepath.Join(d.Guest(n), "upper"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return mount.UpperInUse(f)
}

// Taken says that a guest's files are mounted; nil for a mount that is none.
func (v *View) Taken(n guest.Name) error {
	switch {
	case v == nil:
		return nil
	case v.Lost:
		return fault.Hint(fmt.Errorf("its files were mounted at %s to be written, and somebody still has them: %w", v.Dir, guest.ErrBusy),
			"`grep -l "+v.Dir+" /proc/[0-9]*/mountinfo` shows whose mounts have them; else it is an open file")
	case v.Process != 0:
		return fault.Hint(fmt.Errorf("is mounted at %s in the mount namespace of process %d: %w", v.Dir, v.Process, guest.ErrBusy),
			fmt.Sprintf("nsenter -t %d -m vserver %s umount", v.Process, n))
	}
	at := v.Dir
	if v.Writable {
		at += " to be written"
	}
	return fault.Hint(fmt.Errorf("is mounted at %s: %w", at, guest.ErrBusy), "vserver "+string(n)+" umount")
}

// unmounted refuses a guest, which does not run, whose files are mounted to be written. The
// kernel takes an overlay down some time after its last process.
func unmounted(d guest.Dirs, n guest.Name) error {
	const patience, pause = 2 * time.Second, 5 * time.Millisecond
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		v, err := Mounted(d, n)
		if err != nil {
			return err
		}
		if v == nil {
			return ForgetView(d, n) // whose upper directory is in use while the guest runs
		}
		if !v.Writable {
			return nil
		}
		if !v.Lost || time.Now().After(end) {
			return v.Taken(n)
		}
	}
}
