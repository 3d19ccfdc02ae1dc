// Package carry is what goes from one place to another without being a guest's own
// alone: the volumes that guests mount and that outlive them.
package carry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/store"
)

// Volume is a directory that guests mount by its name.
type Volume struct {
	Name   string
	Path   string // on the host
	Made   time.Time
	Files  int64
	Bytes  int64        // content of all files, each counted once whatever its names
	Guests []guest.Name // whose specs name it, or that were started with it and run
}

// dying precedes the name of a volume that is being deleted. No volume's name begins with
// a dot, so what a killed deletion left is told from volumes by its name alone.
const dying = ".deleted-"

// Volumes lists the volumes, sorted by name. With sizes each is walked through.
func Volumes(ctx context.Context, d guest.Dirs, sizes bool) ([]Volume, error) {
	at, err := file.OpenDir(d.Volumes())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer at.Close()
	names, err := at.Names()
	if err != nil {
		return nil, err
	}
	users, err := mounters(d)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []Volume
	for _, name := range names {
		if checkVolume(name) != nil {
			continue
		}
		v, err := look(ctx, at, name, sizes)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		v.Path, v.Guests = filepath.Join(d.Volumes(), name), users[name]
		out = append(out, v)
	}
	return out, nil
}

// ShowVolume gives one volume, its size told.
func ShowVolume(ctx context.Context, d guest.Dirs, name string) (v Volume, err error) {
	if err := checkVolume(name); err != nil {
		return v, err
	}
	at, err := file.OpenDir(d.Volumes())
	if err != nil {
		return v, absent(name, err)
	}
	defer at.Close()
	if v, err = look(ctx, at, name, true); err != nil {
		return v, absent(name, err)
	}
	users, err := mounters(d)
	v.Path, v.Guests = filepath.Join(d.Volumes(), name), users[name]
	return v, err
}

// CreateVolume makes an empty volume, as the start of a guest that names it does. It is
// guest.ErrExists when there is one.
func CreateVolume(d guest.Dirs, name string) error {
	if err := checkVolume(name); err != nil {
		return err
	}
	if err := os.MkdirAll(d.Volumes(), 0o700); err != nil {
		return files.HintFull(err, d.Data)
	}
	at, err := file.OpenDir(d.Volumes())
	if err != nil {
		return err
	}
	defer at.Close()
	const mode = 0o755 // as a start makes them; the directory above lets nobody in
	switch err = at.Mkdir(name, mode); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("volume %s: %w", name, guest.ErrExists)
	case err != nil:
		return files.HintFull(err, d.Data)
	}
	return nil
}

// DeleteVolume removes a volume with all that is in it. One that a spec names, or that a
// running guest was started with, is guest.ErrBusy. One killed on the way is finished by
// the next deletion of any volume.
func DeleteVolume(d guest.Dirs, name string) error {
	if err := checkVolume(name); err != nil {
		return err
	}
	at, err := file.OpenDir(d.Volumes())
	if err != nil {
		return absent(name, err)
	}
	defer at.Close()
	lock, err := store.Lock(filepath.Join(d.Run, "volumes.lock"), state.Patience)
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := sweep(at); err != nil {
		return err
	}
	if err := unused(d, name); err != nil {
		return err
	}
	if err := at.Rename(name, at, dying+name); err != nil {
		return absent(name, err)
	}
	if err := unused(d, name); err != nil { // named and perhaps mounted just now
		if there, serr := at.Stat(name); serr == nil && there.Type() == file.TypeDir {
			return errors.Join(err, at.Rmdir(name), at.Rename(dying+name, at, name))
		}
		return errors.Join(err, at.Rename(dying+name, at, name))
	}
	return sweep(at)
}

// sweep removes the volumes that are being deleted.
func sweep(at *file.Dir) error {
	names, err := at.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, dying) {
			if err := at.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkVolume refuses what is no name of a volume.
func checkVolume(name string) error {
	_, err := guest.ParseName(name)
	return err
}

// absent says that there is no such volume, when that is what err means.
func absent(name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("volume %s: %w", name, guest.NoSuch("volume"))
}

// unused is an error when a guest has the volume.
func unused(d guest.Dirs, name string) error {
	users, err := mounters(d)
	if err != nil || len(users[name]) == 0 {
		return err
	}
	n := users[name][0]
	return fault.Hint(fmt.Errorf("volume %s: is mounted by %s: %w", name, n, guest.ErrBusy),
		fmt.Sprintf("vserver config %s mounts shows it; `vserver edit %s` takes it out, which counts once the guest is stopped", n, n))
}

// mounters tells which guests have each volume. A spec that cannot be read might name any:
// then it is an error.
func mounters(d guest.Dirs) (map[string][]guest.Name, error) {
	all, err := store.All(d.Config)
	if err != nil {
		return nil, err
	}
	out := map[string][]guest.Name{}
	for _, e := range all {
		if e.Err != nil {
			return nil, e.Err
		}
		held, err := mounted(d, e.Name)
		if err != nil {
			return nil, err
		}
		for _, m := range e.Spec.Mounts {
			if m.Type == guest.MountVolume {
				held = append(held, m.Source)
			}
		}
		for _, name := range held {
			if !slices.Contains(out[name], e.Name) {
				out[name] = append(out[name], e.Name)
			}
		}
	}
	return out, nil
}

// mounted gives the volumes that a running guest has, whatever its spec says by now. A
// guest can make believe that it has more, which keeps these from being deleted, and
// no fewer: it cannot lift the mounts it was started with.
func mounted(d guest.Dirs, n guest.Name) (names []string, err error) {
	note, err := state.ReadNote(d, n)
	if err != nil || note == nil {
		return nil, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", note.PID))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) {
		return nil, nil // it has ended
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		const root = 3 // which directory of its file system a mount shows (proc_pid_mountinfo(5))
		f := strings.Fields(line)
		if len(f) <= root || f[root] == "/" {
			continue
		}
		if name := filepath.Base(f[root]); strings.HasSuffix(filepath.Join(d.Volumes(), name), f[root]) {
			names = append(names, name)
		}
	}
	return names, nil
}

// look looks at a volume in the directory of them all.
func look(ctx context.Context, at *file.Dir, name string, sizes bool) (v Volume, err error) {
	v.Name = name
	st, err := at.Stat(name)
	if err != nil {
		return v, err
	}
	v.Made = time.Unix(0, st.Mtime)
	if !sizes || st.Type() != file.TypeDir {
		return v, nil
	}
	dir, err := at.Dir(name)
	if err != nil {
		return v, err
	}
	defer dir.Close()
	c := counter{seen: map[inode]bool{}}
	err = c.dir(ctx, dir, 0)
	v.Files, v.Bytes = c.files, c.bytes
	return v, err
}
