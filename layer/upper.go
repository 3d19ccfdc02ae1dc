package layer

import (
	"strings"

	"vserver/kernel/file"
)

// Opaque tells whether a directory of a layer hides what lower ones have there.
func Opaque(e *file.Entry) (bool, error) {
	xs, err := e.Xattrs()
	for _, x := range xs {
		if x.Name == opaque {
			return string(x.Value) == "y", err
		}
	}
	return false, err
}

// Reveal takes back what Hide did.
func Reveal(e *file.Entry) error { return e.RemoveXattr(opaque) }

// Note tells whether an attribute is one of an overlay's own, which has a meaning in one
// place alone.
func Note(x file.Xattr) bool { return strings.HasPrefix(x.Name, "trusted.overlay.") }

// Dress gives an entry the owner, attributes and permission bits of another, with the
// shift's ids.
func (s Shift) Dress(from, to *file.Entry, st file.Stat) error { return copyMeta(from, to, st, s) }

// File copies a regular file, its attributes and times too, with the shift's ids. What is
// half-made is left for the caller to remove.
func (s Shift) File(from *file.Dir, name string, to *file.Dir, toName string) error {
	if err := copyInto(from, name, to, toName); err != nil {
		return err
	}
	return s.Like(from, name, to, toName)
}

// Like gives a file what another has but its content, with the shift's ids.
func (s Shift) Like(from *file.Dir, name string, to *file.Dir, toName string) error {
	is, err := from.Entry(name)
	if err != nil {
		return err
	}
	defer is.Close()
	st, err := is.Stat()
	if err != nil {
		return err
	}
	be, err := to.Entry(toName)
	if err != nil {
		return err
	}
	defer be.Close()
	if err := s.Dress(is, be, st); err != nil {
		return err
	}
	return to.SetTimes(toName, st.Atime, st.Mtime)
}
