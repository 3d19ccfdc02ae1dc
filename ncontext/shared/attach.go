package shared

// One set of BPF programs at the world's parent cgroup governs the sockets of all
// guests below it; what a guest has is one entry in a map, by the id of its cgroup. A
// cgroup below the parent that has no entry has no network. The programs stay when
// the tool ends: they hang on the cgroup and hold their maps, and are found again by
// asking the kernel. Only the one that steers incoming connections hangs on a network
// namespace, whose attachments the kernel keeps for us only by a pin in a BPF file
// system, at Dirs.Run/bpf.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"vserver/bpf"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/ebpf"
)

// Set is the programs at a world's cgroup and their maps, by descriptors. It may be
// used by several goroutines at once.
type Set struct {
	// Mended tells that Attach had to put programs there: guests that had a context
	// before need a Put.
	Mended bool

	dirs     guest.Dirs
	group    *cgroup.Group // the parent of all guests
	maps     bpf.Parts     // -1 where a map is not open
	manifest manifest
}

// manifest is what belongs together, as the map of this name keeps it.
type manifest struct {
	layout   uint32 // of the maps; see bpf.MapsVersion
	version  uint32 // of the programs; see bpf.Version
	cpus     uint32 // how many processors a map for each has
	maps     []uint32
	programs []uint32 // as bpf.Set has them
}

// Attach finds the programs at the cgroup Dirs.Cgroup and puts there what is missing:
// all of them the first time, newer ones in the place of older, each in one
// replacement that no packet slips through. The cgroup must be there. It is cheap when
// all is well (some 50 µs). The caller is in the network namespace that guests share.
//
// others, which may be nil, gives the cgroups of running guests of other modes: it is
// called when the programs come for the first time, and these are let pass then (see
// Context.Open), while all else below has no network until Put.
func Attach(d guest.Dirs, others func() []uint64) (*Set, error) {
	s, err := open(d)
	if err != nil {
		return nil, err
	}
	found, err := s.find(false)
	if err == nil && (!found || s.manifest.version != bpf.Version || s.Health() != nil) {
		s.Mended = true
		err = s.install(others)
	}
	if err == nil {
		err = s.openMaps()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("network programs: %w", err)
	}
	return s, nil
}

// Find is Attach that changes nothing. The error is guest.ErrNotFound when no program
// of ours is at the cgroup.
func Find(d guest.Dirs) (*Set, error) {
	s, err := open(d)
	if errors.Is(err, fs.ErrNotExist) {
		err = guest.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("network programs: %w", err)
	}
	found, err := s.find(true)
	if err == nil && !found {
		err = guest.ErrNotFound
	}
	if err == nil {
		err = s.openMaps()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("network programs: %w", err)
	}
	return s, nil
}

// Attached tells whether programs of ours are at the cgroup: then a guest of any
// mode needs a Put before it has a network. It asks for the first that comes and the
// last that goes, and takes some 10 µs.
func Attached(d guest.Dirs) bool {
	s, err := open(d)
	if err != nil {
		return false
	}
	defer s.Close()
	ours, err := s.ours(bpf.Set()[0])
	for _, o := range ours {
		syscall.Close(o.fd)
	}
	return err == nil && len(ours) > 0
}

// Close gives the descriptors back. The programs stay.
func (s *Set) Close() error {
	var errs []error
	for _, fd := range s.maps.Descriptors() {
		if *fd >= 0 {
			errs = append(errs, syscall.Close(*fd))
			*fd = -1
		}
	}
	return errors.Join(append(errs, s.group.Close())...)
}

// Health tells what is missing, as an error that names the programs: one was taken
// off, or the pin is gone. Then nobody may be told that guests are shut in; Shut takes
// their network, and Attach mends it.
func (s *Set) Health() error { return s.missing(true) }

// Exposed is Health of the programs that hold guests in: without the one that leads
// connections to them, which is a matter of the network namespace that one looks from,
// they are but hard to reach.
func (s *Set) Exposed() error { return s.missing(false) }

func (s *Set) missing(lookup bool) error {
	var missing []string
	for i, p := range bpf.Set() {
		if p.Hook.Attach == bpf.LookupHook {
			if lookup && !s.linked(s.manifest.programs[i]) {
				missing = append(missing, p.Name)
			}
			continue
		}
		if p.Extra && s.manifest.programs[i] == 0 {
			continue // this kernel has it not
		}
		ids, err := ebpf.Attached(s.group.FD(), p.Hook.Attach)
		if err != nil {
			return err
		}
		if !slices.Contains(ids, s.manifest.programs[i]) {
			missing = append(missing, p.Name)
		}
	}
	if missing != nil {
		return fmt.Errorf("network programs: not attached: %s", strings.Join(missing, ", "))
	}
	return nil
}

// open opens the cgroup.
func open(d guest.Dirs) (*Set, error) {
	h, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	g, err := h.Open(d.Cgroup)
	if err != nil {
		return nil, err
	}
	s := &Set{dirs: d, group: g}
	for _, fd := range s.maps.Descriptors() {
		*fd = -1
	}
	return s, nil
}

// find looks for a program of ours at the cgroup and reads the manifest that it holds:
// for the first of the set or, if any says so, for all.
func (s *Set) find(any bool) (bool, error) {
	for _, p := range bpf.Set() {
		if p.Hook.Attach == bpf.LookupHook {
			continue
		}
		ours, err := s.ours(p)
		for _, o := range ours {
			syscall.Close(o.fd)
		}
		if err != nil {
			return false, err
		}
		for _, o := range ours {
			if err := s.readManifest(o.Maps[0]); err == nil {
				return true, nil
			}
		}
		if !any {
			break
		}
	}
	return false, nil
}

// attached is a program at the cgroup, by an open descriptor.
type attached struct {
	ebpf.Program
	fd int
}

// ours gives the programs at the cgroup that are this one or another version of it.
func (s *Set) ours(p bpf.Program) (out []attached, err error) {
	ids, err := ebpf.Attached(s.group.FD(), p.Hook.Attach)
	if p.Extra && errors.Is(err, syscall.EINVAL) {
		return nil, nil // an older kernel
	}
	if err != nil {
		return nil, err
	}
	_, word, _ := strings.Cut(p.Name, "_")
	for _, id := range ids {
		fd, err := ebpf.OpenProgram(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return out, err
		}
		d, err := ebpf.Describe(fd)
		prefix, rest, _ := strings.Cut(d.Name, "_")
		if err != nil || !strings.HasPrefix(prefix, bpf.Prefix) || rest != word || len(d.Maps) == 0 {
			syscall.Close(fd)
			continue
		}
		out = append(out, attached{d, fd})
	}
	return out, nil
}

// readManifest opens the map with this id and reads it.
func (s *Set) readManifest(id uint32) error {
	fd, err := ebpf.OpenMap(id)
	if err != nil {
		return err
	}
	value := make([]byte, bpf.ManifestSize)
	if err := ebpf.Get(fd, make([]byte, 4), value); err != nil {
		syscall.Close(fd)
		return err
	}
	if s.maps.Manifest >= 0 {
		syscall.Close(s.maps.Manifest)
	}
	s.maps.Manifest = fd
	return s.manifest.decode(value)
}

// openMaps opens the maps that Put and Stats need.
func (s *Set) openMaps() error {
	for i, fd := range s.maps.Descriptors() {
		if *fd >= 0 || i > bpf.LastOfTool && i != bpf.ChangeMap && i != bpf.PlacesMap {
			continue
		}
		var err error
		if *fd, err = ebpf.OpenMap(s.manifest.maps[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *manifest) encode() []byte {
	var b []byte
	for _, w := range append(append([]uint32{m.layout, m.version, m.cpus}, m.maps...), m.programs...) {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return append(b, make([]byte, bpf.ManifestSize-len(b))...) // what programs and Steer note among them
}

// decode refuses a manifest of other maps than ours.
func (m *manifest) decode(b []byte) error {
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }
	*m = manifest{layout: word(0), version: word(1), cpus: word(2)}
	if m.layout != bpf.MapsVersion {
		return fmt.Errorf("made by another version, whose maps differ: %w", guest.ErrBusy)
	}
	n := len(bpf.Maps())
	for i := range n {
		m.maps = append(m.maps, word(3+i))
	}
	for i := range len(bpf.Set()) {
		m.programs = append(m.programs, word(3+n+i))
	}
	return nil
}
