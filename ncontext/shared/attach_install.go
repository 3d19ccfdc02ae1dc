package shared

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

	"vserver/bpf"
	"vserver/guest"
	"vserver/kernel/ebpf"
	"vserver/kernel/file"
	"vserver/kernel/mount"
)

// bpffs is the magic number of a BPF file system, linux/magic.h.
const bpffs = 0xcafe4a11

// install puts the whole set there, one tool at a time. What is kept of an earlier set
// are its maps; its programs are replaced one by one.
func (s *Set) install(others func() []uint64) error {
	lock, err := alone(s.dirs)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	found, err := s.find(true)
	if err != nil {
		return err
	}
	if found && s.manifest.version == bpf.Version && s.Health() == nil {
		return nil // another tool was quicker
	}
	if err := s.makeMaps(found); err != nil {
		return err
	}
	if !found && others != nil {
		for _, id := range others() {
			if err := s.Put(id, &Context{Open: true}); err != nil {
				return err
			}
		}
	}
	s.maps.Level = int32(strings.Count(filepath.Clean(s.dirs.Cgroup), "/")) + 2
	if s.maps.Tasks, err = bpf.FindTasks(); err != nil {
		return err
	}
	programs, err := s.loadAll()
	defer func() {
		for _, fd := range programs {
			if fd >= 0 {
				syscall.Close(fd)
			}
		}
	}()
	if err != nil {
		return err
	}
	if err := s.writeManifest(found); err != nil {
		return err
	}
	for i, p := range bpf.Set() {
		switch {
		case programs[i] < 0:
			continue
		case p.Hook.Attach == bpf.LookupHook:
			err = s.link(programs[i])
		default:
			err = s.attach(p, programs[i])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// writeManifest writes the manifest. What an earlier one tells of sockets stays; of
// looping ones those before version 16 told nothing.
func (s *Set) writeManifest(found bool) error {
	key, value := make([]byte, 4), s.manifest.encode()
	if found {
		old := make([]byte, len(value))
		if err := ebpf.Get(s.maps.Manifest, key, old); err != nil {
			return err
		}
		copy(value[bpf.Looping:], old[bpf.Looping:])
		value[bpf.Looping] = 1
	}
	return ebpf.Set(s.maps.Manifest, key, value)
}

// makeMaps opens the maps of the manifest, or makes new ones.
func (s *Set) makeMaps(found bool) (err error) {
	specs := bpf.Maps()
	ids := make([]uint32, len(specs))
	for i, fd := range s.maps.Descriptors() {
		if *fd < 0 && found {
			*fd, err = ebpf.OpenMap(s.manifest.maps[i])
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if *fd < 0 {
			if *fd, err = ebpf.NewMap(specs[i]); err != nil {
				return err
			}
		}
		if ids[i], err = ebpf.IDOfMap(*fd); err != nil {
			return err
		}
	}
	if err := ebpf.Insert(s.maps.Counts, id(0), make([]byte, bpf.CountSize)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err // of all guests together
	}
	cpus, err := possibleCPUs()
	s.manifest = manifest{layout: bpf.MapsVersion, version: bpf.Version, cpus: uint32(cpus), maps: ids}
	return err
}

// loadAll loads the programs and notes their ids: -1 and 0 for those that the kernel has
// no place for.
func (s *Set) loadAll() (fds []int, err error) {
	for _, p := range bpf.Set() {
		if p.Extra && !s.maps.Extras() {
			fds, s.manifest.programs = append(fds, -1), append(s.manifest.programs, 0)
			continue
		}
		fd, err := ebpf.LoadProgram(p.Hook, p.Name, p.Text(s.maps))
		if err != nil {
			return fds, err
		}
		fds = append(fds, fd)
		d, err := ebpf.Describe(fd)
		if err != nil {
			return fds, err
		}
		s.manifest.programs = append(s.manifest.programs, d.ID)
	}
	return fds, nil
}

// attach puts a program at the cgroup, in the place of one of ours that is there.
func (s *Set) attach(p bpf.Program, program int) error {
	old, err := s.ours(p)
	defer func() {
		for _, o := range old {
			syscall.Close(o.fd)
		}
	}()
	if err != nil {
		return err
	}
	replace := -1
	if len(old) > 0 {
		replace = old[0].fd
	}
	if err := ebpf.AttachCgroup(s.group.FD(), program, p.Hook.Attach, replace); err != nil {
		return err
	}
	for i := 1; i < len(old); i++ {
		err = errors.Join(err, ebpf.DetachCgroup(s.group.FD(), old[i].fd, p.Hook.Attach))
	}
	return err
}

// pins is the directory with our BPF file system, pin the name of the link in it.
func pins(d guest.Dirs) string { return filepath.Join(d.Run, "bpf") }
func pin(d guest.Dirs) string  { return filepath.Join(pins(d), "lookup") }

// linked tells whether the link is there, with this program and in this namespace.
func (s *Set) linked(program uint32) bool {
	fd, err := ebpf.OpenPin(pin(s.dirs))
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	id, namespace, err := ebpf.LinkedProgram(fd)
	if err != nil || id != program {
		return false
	}
	var here syscall.Stat_t
	err = syscall.Stat("/proc/thread-self/ns/net", &here)
	return err == nil && uint64(namespace) == here.Ino
}

// link puts the program into the caller's network namespace, in the place of the one
// that the pin holds.
func (s *Set) link(program int) error {
	if err := mountPins(pins(s.dirs)); err != nil {
		return err
	}
	netns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer netns.Close()
	old, err := ebpf.OpenPin(pin(s.dirs))
	if err == nil {
		defer syscall.Close(old)
		var here syscall.Stat_t
		if err := syscall.Fstat(int(netns.Fd()), &here); err != nil {
			return err
		}
		if _, namespace, err := ebpf.LinkedProgram(old); err == nil && uint64(namespace) == here.Ino {
			return ebpf.Relink(old, program)
		}
		if err := os.Remove(pin(s.dirs)); err != nil {
			return err
		}
	}
	fd, err := ebpf.Link(int(netns.Fd()), program, bpf.LookupHook)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return ebpf.Pin(fd, pin(s.dirs))
}

// mountPins makes a BPF file system at dir, if none is there.
func mountPins(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if uint32(st.Type) == bpffs {
		return nil
	}
	fd, err := mount.New("bpf", mount.NoSuid|mount.NoDev|mount.NoExec, "mode=700")
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return mount.Attach(fd, dir)
}

// alone keeps others from putting programs there, and from taking them away.
func alone(d guest.Dirs) (*file.Lock, error) {
	if err := os.MkdirAll(d.Run, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return file.WaitLock(ctx, pins(d)+".lock")
}

// Prune is Detach when there is no group of guests any more. One that somebody begins
// meanwhile keeps its programs.
func Prune(d guest.Dirs) error {
	if there, err := file.Exists(pins(d)); !there || err != nil {
		return err
	}
	lock, err := alone(d)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	s, err := open(d)
	if err == nil {
		return s.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return detach(d)
}

// Detach takes programs, maps and pin of the world away. It is no error when there
// are none, and others may do so at the same time.
func Detach(d guest.Dirs) error {
	lock, err := alone(d)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return detach(d)
}

func detach(d guest.Dirs) error {
	var errs []error
	s, err := open(d)
	switch {
	case err == nil:
		for _, p := range slices.Backward(bpf.Set()) { // see Attached
			if p.Hook.Attach == bpf.LookupHook {
				continue
			}
			ours, err := s.ours(p)
			errs = append(errs, err)
			for _, o := range ours {
				errs = append(errs, ebpf.DetachCgroup(s.group.FD(), o.fd, p.Hook.Attach), syscall.Close(o.fd))
			}
		}
		errs = append(errs, s.Close())
	case !errors.Is(err, fs.ErrNotExist):
		errs = append(errs, err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(pins(d), &st); err != nil {
		return errors.Join(errs...)
	}
	if uint32(st.Type) == bpffs {
		errs = append(errs, file.Forget(pin(d)))
		err := syscall.Unmount(pins(d), 0)
		if err != nil && err != syscall.EINVAL && err != syscall.ENOENT {
			errs = append(errs, &fs.PathError{Op: "unmount", Path: pins(d), Err: err})
		}
	}
	return errors.Join(append(errs, file.Forget(pins(d)))...)
}

// possibleCPUs is how many values a map for each processor has: the last number in
// "0-3", and one.
func possibleCPUs() (int, error) {
	b, err := os.ReadFile("/sys/devices/system/cpu/possible")
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(b))
	last := text[strings.LastIndexAny(text, "-,")+1:]
	n := 0
	if _, err := fmt.Sscan(last, &n); err != nil {
		return 0, fmt.Errorf("possible processors %q: %w", text, err)
	}
	return n + 1, nil
}
