package guest

import "path/filepath"

// Tree is the directory of a guest in a plain directory; own is where its files are by
// default (Dirs.Guest).
func (r *Root) Tree(own string) string {
	if r.Path != "" {
		return r.Path
	}
	return filepath.Join(own, "root")
}

// TreeID is the host id that the files of the guest's root have in a plain directory.
// s has its defaults.
func (s *Spec) TreeID() uint32 {
	if s.Root.IDMap {
		return 0
	}
	return s.FirstID()
}

// Unplace takes away where on this host the files are: for another guest that gets them.
func (r *Root) Unplace() { r.Path, r.IDMap, r.Device = "", false, "" }

// rootDir checks what is said of a plain directory, or of a device.
func (v *validator) rootDir(s *Spec) {
	r := &s.Root
	if r.Path != "" && v.isAbsolute("root.path", r.Path) && r.Path == "/" {
		v.bad("root.path", "is the host's own root")
	}
	if r.Kind != RootDir && r.Path != "" {
		v.bad("root.path", "has no meaning without kind: dir")
	}
	if r.Device != "" && v.isAbsolute("root.device", r.Device) {
		switch {
		case r.Kind == RootDir:
			v.bad("root.device", "is for kind: overlay")
		case s.Limits.Disk > 0:
			v.bad("limits.disk", "the size of root.device is the limit")
		}
	}
	if r.Kind != RootDir && r.IDMap {
		v.bad("root.idmap", "has no meaning without kind: dir; shared trees are always shown so")
	}
	if r.IDMap && s.Userns == UsernsNone {
		v.bad("root.idmap", "a guest without a user namespace has the host's ids")
	}
}
