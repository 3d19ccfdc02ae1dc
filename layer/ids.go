package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
)

// nobody is the guest's id for files of ids that it does not have.
const nobody = 65534

// Shift moves a guest's 65536 ids from one place in the host's ids to another.
type Shift struct{ From, To uint32 }

// ID gives the new id. Ids outside of From's range are those that the guest sees as
// nobody; they become its nobody.
func (s Shift) ID(id uint32) uint32 {
	if id-s.From < guest.IDs { // unsigned: below From is far above
		return id - s.From + s.To
	}
	return s.To + nobody
}

// Xattr gives the attribute as it must be in the new place, and false when it must not
// go there: labels of the host's security modules, and the overlay's notes about the
// very inodes and file systems of the old place.
func (s Shift) Xattr(x file.Xattr) (file.Xattr, bool, error) {
	switch {
	case x.Name == "security.capability":
		v, err := s.capability(x.Value)
		return file.Xattr{Name: x.Name, Value: v}, err == nil, err
	case x.Name == "system.posix_acl_access", x.Name == "system.posix_acl_default":
		v, err := s.acl(x.Value)
		return file.Xattr{Name: x.Name, Value: v}, err == nil, err
	case strings.HasPrefix(x.Name, "user."):
		return x, true, nil
	case x.Name == opaque, x.Name == "trusted.overlay.redirect",
		x.Name == "trusted.overlay.metacopy", x.Name == "trusted.overlay.protattr":
		return x, true, nil
	}
	return x, false, nil
}

// The layout of security.capability (linux/capability.h): a little-endian word with
// the revision in its top byte, the sets, and in revision 3 the host id of the root
// of the user namespace that the capabilities are meant for.
const (
	capRevision2 = 0x02000000
	capRevision3 = 0x03000000
	capSize2     = 20
	capSize3     = 24
)

// errCapability and errACL are attributes that the kernel would not have written.
var (
	errCapability = errors.New("security.capability: unknown layout")
	errACL        = errors.New("posix_acl: unknown layout")
)

func (s Shift) capability(v []byte) ([]byte, error) {
	if len(v) < capSize2 {
		return nil, errCapability
	}
	magic := binary.LittleEndian.Uint32(v)
	root := uint32(0)
	switch {
	case magic&0xff000000 == capRevision2 && len(v) == capSize2:
	case magic&0xff000000 == capRevision3 && len(v) == capSize3:
		root = binary.LittleEndian.Uint32(v[capSize2:])
	default:
		return nil, errCapability
	}
	if root = s.ID(root); root == 0 {
		out := append([]byte(nil), v[:capSize2]...)
		binary.LittleEndian.PutUint32(out, capRevision2|magic&0x00ffffff)
		return out, nil
	}
	out := append(append([]byte(nil), v[:capSize2]...), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(out, capRevision3|magic&0x00ffffff)
	binary.LittleEndian.PutUint32(out[capSize2:], root)
	return out, nil
}

// The layout of a POSIX ACL attribute (linux/posix_acl_xattr.h): a version, then
// entries of tag (2 bytes), permissions (2) and id (4).
const (
	aclVersion = 2
	aclHead    = 4
	aclEntry   = 8
	aclUser    = 0x02
	aclGroup   = 0x08
)

func (s Shift) acl(v []byte) ([]byte, error) {
	if len(v) < aclHead || (len(v)-aclHead)%aclEntry != 0 || binary.LittleEndian.Uint32(v) != aclVersion {
		return nil, errACL
	}
	out := append([]byte(nil), v...)
	for e := out[aclHead:]; len(e) > 0; e = e[aclEntry:] {
		if tag := binary.LittleEndian.Uint16(e); tag == aclUser || tag == aclGroup {
			binary.LittleEndian.PutUint32(e[4:], s.ID(binary.LittleEndian.Uint32(e[4:])))
		}
	}
	return out, nil
}

// copyMeta gives to the owner, attributes and permission bits that from has, in this
// order: a change of owner takes set-uid bits and capabilities away.
func copyMeta(from, to *file.Entry, st file.Stat, s Shift) error {
	xs, err := from.Xattrs()
	if err != nil {
		return err
	}
	return setMeta(to, st, xs, s)
}

// Alike gives a directory the owner, permission bits, attributes and times that another
// has, the overlay's own marks left out.
func Alike(from, to *file.Dir, s Shift) error {
	c := Copy{Over: true, Shift: s}
	return c.self(from, to)
}

func setMeta(to *file.Entry, st file.Stat, xs []file.Xattr, s Shift) error {
	if err := to.Chown(s.ID(st.UID), s.ID(st.GID)); err != nil {
		return err
	}
	if st.Type() == file.TypeLink {
		return nil
	}
	for _, x := range xs {
		x, ok, err := s.Xattr(x)
		if err != nil {
			return fmt.Errorf("%s: %w", to.Path(), err)
		}
		if !ok {
			continue
		}
		if err := to.SetXattr(x.Name, x.Value); err != nil {
			return err
		}
	}
	return to.Chmod(st.Perm())
}
