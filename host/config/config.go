// Package config is what is wanted of a guest, read and changed by its settings, and what
// a guest that runs gets of a change at once.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/network"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/kernel/seccomp"
	"vserver/store"
	"vserver/store/settings"
)

// Change is what a change of a guest's spec brings about.
type Change struct {
	// Paths are the keys whose values are other ones now.
	Paths []string
	// Restart are those of Paths that the running guest gets only when it is started
	// again. There are none for a guest that does not run.
	Restart []string
	// Warnings are what is hardly meant, though it works.
	Warnings []error
}

// Get gives the spec of a guest: the text of its file for the key "", and else the
// value of the key with its default filled in, a single one bare, lists and sections
// as YAML.
func Get(d guest.Dirs, n guest.Name, key string) (string, error) {
	text, err := wanted(d, n)
	if err != nil || key == "" {
		return strings.TrimSuffix(string(text), "\n"), err
	}
	spec, err := settings.Parse(d.Spec(n), text)
	if err != nil {
		return "", err
	}
	full := spec.WithDefaults(n)
	return settings.Get(&full, key)
}

// wanted is the text of a guest's spec, or what its directory of Linux-VServer's would be
// as one.
func wanted(d guest.Dirs, n guest.Name) ([]byte, error) {
	path := d.Spec(n)
	text, err := store.Read(path)
	if errors.Is(err, guest.ErrNotFound) && store.Old(path) {
		text, err = store.Rendered(d, n)
	}
	if errors.Is(err, guest.ErrNotFound) {
		err = guest.ErrNotFound
	}
	return text, err
}

// Set makes the changes "key=value", "key=" (back to the default), "key+=item" and
// "key-=item" in a guest's spec: all of them or, when the outcome is wrong or clashes
// with another guest, none. Comments stay.
func Set(d guest.Dirs, n guest.Name, changes []string) (Change, error) {
	return change(d, n, func(path string, text []byte) ([]byte, error) {
		out, _, err := settings.Apply(path, text, changes)
		return out, err
	})
}

// Edit replaces the text of a guest's spec. It is refused as by Set, with the places
// of what is wrong in the new text. A spec that is broken can be mended so.
func Edit(d guest.Dirs, n guest.Name, text []byte) (Change, error) {
	return change(d, n, func(string, []byte) ([]byte, error) { return text, nil })
}

// change replaces a spec by what edit makes of it.
func change(d guest.Dirs, n guest.Name, edit func(path string, text []byte) ([]byte, error)) (c Change, err error) {
	unlock, err := state.Lock(d, n)
	if err != nil {
		return c, err
	}
	defer unlock()
	path := d.Spec(n)
	before, err := store.Read(path)
	if errors.Is(err, guest.ErrNotFound) && store.Old(path) {
		return c, fault.Hint(fmt.Errorf("its settings are files of %s: %w", strings.TrimSuffix(path, ".yaml"), guest.ErrInvalid),
			"change those, or write a spec of them: vserver "+string(n)+" migrate")
	}
	if errors.Is(err, guest.ErrNotFound) {
		return c, guest.ErrNotFound
	}
	if err != nil {
		return c, err
	}
	after, err := edit(path, before)
	if err != nil {
		return c, err
	}
	spec, err := settings.Parse(path, after)
	if err != nil || bytes.Equal(before, after) {
		return c, err
	}
	old, err := settings.Parse(path, before)
	if err != nil {
		old = nil // it is being mended
	}
	was := old
	if was == nil {
		was = new(guest.Spec) // all that is set counts then
	}
	if c.Paths, err = settings.Differences(was, spec); err != nil {
		return c, err
	}
	if c.Warnings, err = admit(d, n, path, after, spec, old, c.Paths); err != nil {
		return c, err
	}
	if err := resize(d, n, &c, spec); err != nil {
		return c, err
	}
	// What the kernel refuses is not written down either.
	if c.Restart, err = relimit(d, n, old, spec, c.Paths); err != nil {
		return c, errors.Join(err, unsize(d, n, &c, old))
	}
	wait, back, err := renew(d, n, old, spec, c.Paths)
	if err != nil {
		err = errors.Join(err, unlimit(d, n, old, spec, c.Paths))
		return c, errors.Join(err, unsize(d, n, &c, old))
	}
	c.Restart = append(c.Restart, wait...)
	if err := files.HintFull(store.WriteText(path, after), d.Config); err != nil {
		err = errors.Join(err, back(), unlimit(d, n, old, spec, c.Paths))
		return c, errors.Join(err, unsize(d, n, &c, old))
	}
	return c, follow(d, n, &c)
}

// renew gives a guest that runs what reprocessed and rerights do, as those.
func renew(d guest.Dirs, n guest.Name, old, spec *guest.Spec, paths []string) (wait []string, undo func() error, err error) {
	wait, unprocess, err := reprocessed(d, n, spec, paths)
	if err != nil {
		return nil, nil, err
	}
	more, unright, err := rerights(d, n, old, spec, paths)
	if err != nil {
		return nil, nil, errors.Join(err, unprocess())
	}
	return append(wait, more...), func() error { return errors.Join(unright(), unprocess()) }, nil
}

// admit refuses a spec that clashes with what else is there; it differs from old in paths.
func admit(d guest.Dirs, n guest.Name, path string, text []byte, spec, old *guest.Spec, paths []string) (warnings []error, err error) {
	if err := seccomp.Known(spec.Rights.Syscalls); err != nil && slices.Contains(paths, "rights.syscalls") {
		return nil, settings.Problems{settings.At(path, text, "rights.syscalls", fmt.Errorf("%w: %w", err, guest.ErrInvalid))}
	}
	if err := pinned(d, n, path, text, spec, old); err != nil || old != nil && store.Alone(paths) {
		return nil, err
	}
	all, err := store.All(d.Config)
	if err != nil {
		return nil, err
	}
	taken, err := store.Accounts(d.Etc)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(e store.Entry) bool { return e.Name == n })
	var wrong settings.Problems
	for _, c := range store.Check(append(all, store.Entry{Name: n, Spec: spec}), taken) {
		switch p := settings.At(path, text, c.Path, c.Err); {
		case c.Guest != n:
		case c.Warning:
			warnings = append(warnings, p)
		default:
			wrong = append(wrong, p)
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	if spec.XID == 0 || old != nil && spec.XID == old.XID {
		return warnings, nil
	}
	return warnings, store.Reserve(d, n, spec)
}

// pinned refuses what cannot change any more once there are files: whom they belong
// to, and how they are kept.
func pinned(d guest.Dirs, n guest.Name, path string, text []byte, spec, old *guest.Spec) error {
	files, err := file.Exists(d.Guest(n))
	if err != nil || old == nil || !files && old.Root.Path == "" {
		return err
	}
	now, then := spec.WithDefaults(n), old.WithDefaults(n)
	refuse := func(key, format string, args ...any) error {
		return settings.Problems{settings.At(path, text, key, fmt.Errorf(format+": %w", append(args, guest.ErrInvalid)...))}
	}
	switch {
	case now.XID == 0 && then.XID != 0:
		return refuse("xid", "must stay, now that the guest has its files; it is %d", then.XID)
	case now.Userns != then.Userns:
		return refuse("userns", "must stay %s: the guest's files belong to its ids", then.Userns)
	case now.FirstID() != then.FirstID() && spec.IDBase == 0:
		return fault.Hint(refuse("xid", "the guest's files belong to ids from %d", then.FirstID()),
			fmt.Sprintf("keep its ids: vserver %s set xid=%d idbase=%d", n, now.XID, then.FirstID()))
	case now.FirstID() != then.FirstID():
		return refuse("idbase", "must stay %d: the guest's files belong to ids from there", then.FirstID())
	case now.TreeID() != then.TreeID():
		return fault.Hint(refuse("root.idmap", "must stay: the guest's files belong to ids from %d", then.TreeID()),
			"vserver "+string(n)+" migrate --chown")
	case now.Root.Kind != then.Root.Kind:
		return refuse("root.kind", "must stay %s: so the guest's files are kept", then.Root.Kind)
	}
	return nil
}

// follow does what a changed spec calls for: what the guest's own files say of its
// name and its name servers is written again, before its next start if it runs; and
// of a guest that runs it is said what has to wait until then.
func follow(d guest.Dirs, n guest.Name, c *Change) error {
	running, err := state.Runs(d, n)
	if err == nil {
		err = file.Forget(lentPath(d, n))
	}
	if err != nil {
		return err
	}
	for _, p := range c.Paths {
		if running && !live(p) {
			c.Restart = append(c.Restart, p)
		}
	}
	if running && slices.ContainsFunc(c.Paths, filtered) {
		if err := network.Refilter(d, n); err != nil {
			return err
		}
	}
	if running && slices.ContainsFunc(c.Paths, counted) {
		spec, err := state.Load(d, n)
		if err == nil {
			err = network.Bound(d, n, &spec.Network)
		}
		if err != nil {
			return err
		}
	}
	named := func(path string) bool { return path == "hostname" || strings.HasPrefix(path, "network.") }
	there, err := file.Exists(d.Guest(n))
	if err != nil || !there || !slices.ContainsFunc(c.Paths, named) {
		return err
	}
	if err := files.Outdate(d, n); err != nil || running {
		return err
	}
	return files.Freshen(d, n)
}

// live tells whether a setting is read when it is needed, and not at the start only.
func live(path string) bool {
	if sized(path) || limited(path) || processed(path) || path == ceilingsPath || filtered(path) || righted(path) || counted(path) {
		return true
	}
	switch path {
	case "init.stop_signal", "init.stop_command", "init.stop_timeout",
		"hooks.pre-stop", "hooks.post-stop", "boot.marks", "boot.depends":
		return true
	}
	return false
}
