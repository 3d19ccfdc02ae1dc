package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/network"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/store/settings"
)

// Lend gives a guest that runs other limits than its spec says, beside those that it was lent
// before, until it ends or its spec is changed. Limits of the disk stay longer, and may be
// those of a guest that does not run: the file system keeps them.
func Lend(d guest.Dirs, n guest.Name, changes []string) error {
	unlock, err := state.Lock(d, n)
	if err != nil {
		return err
	}
	defer unlock()
	path := d.Spec(n)
	text, err := wanted(d, n)
	if err != nil {
		return err
	}
	running, err := state.Runs(d, n)
	if err != nil {
		return err
	}
	was, err := state.ReadNote(d, n)
	if err != nil {
		return err
	}
	before := lent(d, n, was)
	if with, _, err := settings.Apply(path, text, before); err == nil {
		text = with
	}
	old, err := settings.Parse(path, text)
	if err != nil {
		return err
	}
	text, paths, err := settings.Apply(path, text, changes)
	if err != nil {
		return err
	}
	now, err := settings.Parse(path, text)
	if err != nil {
		return err
	}
	if err := lends(d, n, running, old, now, paths); err != nil {
		return err
	}
	if slices.ContainsFunc(paths, sized) || was == nil {
		return nil
	}
	return note(d, n, was, merged(before, changes))
}

// lends makes old now, as far as these paths go.
func lends(d guest.Dirs, n guest.Name, running bool, old, now *guest.Spec, paths []string) error {
	onDisk := !slices.ContainsFunc(paths, func(p string) bool { return !sized(p) })
	switch i := slices.IndexFunc(paths, func(p string) bool { return !limited(p) && !counted(p) }); {
	case onDisk:
		return resize(d, n, &Change{Paths: paths}, now)
	case !running:
		return guest.ErrStopped
	case i >= 0:
		return fault.Hint(fmt.Errorf("%s: cannot be changed while it runs: %w", paths[i], guest.ErrUnsupported),
			"vserver "+string(n)+" set "+paths[i]+"=VALUE is for its next start")
	}
	wait, err := relimit(d, n, old, now, paths)
	if err == nil && slices.ContainsFunc(paths, counted) {
		err = network.Bound(d, n, &now.Network)
	}
	if err == nil && len(wait) > 0 {
		err = fmt.Errorf("%s: cannot be raised while it runs: %w", wait[0], guest.ErrUnsupported)
	}
	if err != nil {
		return errors.Join(err, unlimit(d, n, old, now, paths))
	}
	return nil
}

// lentPath is the file with what a guest was lent: the mark of its run, and the changes.
func lentPath(d guest.Dirs, n guest.Name) string { return filepath.Join(d.State(n), "lent") }

// run tells one run of a guest from another.
func run(was *state.Note) string { return fmt.Sprintf("%d %d", was.PID, was.Began) }

// lent gives what a guest has been lent in the run of this note.
func lent(d guest.Dirs, n guest.Name, was *state.Note) []string {
	text, err := os.ReadFile(lentPath(d, n))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err != nil || was == nil || lines[0] != run(was) {
		return nil
	}
	return lines[1:]
}

func note(d guest.Dirs, n guest.Name, was *state.Note, changes []string) error {
	return file.Replace(lentPath(d, n), []byte(run(was)+"\n"+strings.Join(changes, "\n")+"\n"), 0o600)
}

// merged are changes with others behind them, of which the last of a key counts.
func merged(before, changes []string) (out []string) {
	key := func(c string) string { k, _, _ := strings.Cut(c, "="); return k }
	for _, c := range before {
		if !slices.ContainsFunc(changes, func(l string) bool { return key(l) == key(c) }) {
			out = append(out, c)
		}
	}
	return append(out, changes...)
}
