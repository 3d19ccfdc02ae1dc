package archive

import (
	"archive/tar"
	"math"
	"path"
	"strings"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/layer"
)

// meta gives a file the owner, mode, attributes and times of its entry. Regular files
// have owner and mode from writeFile.
func (u *Unpacker) meta(d *file.Dir, name, p string, h *tar.Header) error {
	if !isFile(h) || hasXattrs(h) {
		e, err := d.Entry(name)
		if err != nil {
			return err
		}
		defer e.Close()
		if err := u.setMeta(e, h); err != nil {
			return err
		}
	}
	mtime := u.clampTime(h.ModTime)
	if h.Typeflag == tar.TypeDir {
		u.times = append(u.times, stamp{p, mtime})
		return nil
	}
	return d.SetTimes(name, mtime, mtime)
}

func isFile(h *tar.Header) bool {
	return h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse || h.Typeflag == tar.TypeCont
}

// hasXattrs tells whether an entry has extended attributes.
func hasXattrs(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, xattrRecord) {
			return true
		}
	}
	return false
}

// clampTime keeps times within what every file system holds: 1970 to 2106. Those of a
// guest's own files were on one.
func (u *Unpacker) clampTime(t time.Time) int64 {
	if u.Whole {
		const most = math.MaxInt64 / 1_000_000_000
		return min(max(t.Unix(), -most), most-1)*1e9 + int64(t.Nanosecond())
	}
	return min(max(t.Unix(), 0), math.MaxUint32)*1e9 + int64(t.Nanosecond())
}

// setTimes sets the directories' times, when nothing is put in them any more.
func (u *Unpacker) setTimes() error {
	for _, s := range u.times {
		if s.path == "" {
			if err := u.rootTime(s.mtime); err != nil {
				return err
			}
			continue
		}
		dirPath, name := path.Split(s.path)
		w := walker{u: u, links: maxLinks, layer: u.layer}
		d, err := w.walk(dirPath)
		if err != nil {
			continue // replaced by a later entry
		}
		if st, err := d.Stat(name); err == nil && st.Type() == file.TypeDir {
			if err := d.SetTimes(name, s.mtime, s.mtime); err != nil {
				d.Close()
				return err
			}
		}
		d.Close()
	}
	return nil
}

func (u *Unpacker) rootTime(mtime int64) error {
	e, err := u.root.SelfEntry()
	if err != nil {
		return err
	}
	defer e.Close()
	return e.SetTimes(mtime, mtime)
}

func (u *Unpacker) setMeta(e *file.Entry, h *tar.Header) error {
	if err := e.Chown(u.owner(h.Uid), u.owner(h.Gid)); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	if u.Over && h.Typeflag == tar.TypeDir {
		if err := u.bare(e); err != nil {
			return err
		}
	}
	if err := u.setXattrs(e, h); err != nil {
		return err
	}
	return e.Chmod(uint32(h.Mode) & 0o7777)
}

// nobody is the guest's id for files whose owner it cannot have.
const nobody = 65534

func (u *Unpacker) owner(id int) uint32 {
	if id >= guest.IDs {
		return u.Base + nobody
	}
	return u.Base + uint32(id)
}

// xattrRecord precedes an attribute's name in a PAX header.
const xattrRecord = "SCHILY.xattr."

func (u *Unpacker) setXattrs(e *file.Entry, h *tar.Header) error {
	total := 0
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok {
			continue
		}
		if total += len(name) + len(value); total > u.Limits.Xattrs {
			return hostile(h.Name, "more than %d bytes of extended attributes", u.Limits.Xattrs)
		}
		own := strings.HasPrefix(name, "user.") && len(name) > len("user.") && !strings.Contains(name, "\x00") ||
			name == "security.capability" || strings.HasPrefix(name, "system.posix_acl_") ||
			u.Whole && strings.HasPrefix(name, "trusted.overlay.")
		if !own {
			u.Done.Report.Xattrs++
			continue
		}
		x, ok, err := layer.Shift{To: u.Base}.Xattr(file.Xattr{Name: name, Value: []byte(value)})
		if err != nil {
			return hostile(h.Name, "%s", err)
		}
		if !ok {
			u.Done.Report.Xattrs++
			continue
		}
		if err := e.SetXattr(x.Name, x.Value); err != nil {
			return err
		}
	}
	return nil
}
