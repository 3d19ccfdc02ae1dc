package host

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/config"
	"vserver/host/inside"
	"vserver/host/reach"
	"vserver/kernel/file"
	"vserver/unify/exclude"
)

// Find gives the guest that a word means, as Linux-VServer's tools read it: NAME, :NAME,
// a path DIR/NAME into the directory of the specs, or the number of a guest. A name
// needs not be that of a guest that exists. The error is guest.ErrInvalid, or guest.ErrNotFound
// of a path that leads nowhere.
func Find(h *Host, word string) (guest.Name, error) {
	w := strings.TrimSuffix(strings.TrimPrefix(word, ":"), "/")
	if strings.Contains(w, "/") {
		abs, err := filepath.Abs(w)
		if there, err := file.Exists(w); err == nil && !there && filepath.Dir(abs) != h.Dirs.Config {
			return "", fmt.Errorf("%s: %w", word, guest.ErrNotFound)
		}
		if err != nil || filepath.Dir(abs) != h.Dirs.Config {
			return "", fmt.Errorf("%s: not a spec in %s: %w", word, h.Dirs.Config, guest.ErrInvalid)
		}
		w = strings.TrimSuffix(filepath.Base(abs), ".yaml")
	}
	n, err := guest.ParseName(w)
	if err != nil {
		return "", err
	}
	if x, err := strconv.ParseUint(w, 10, 16); err == nil && w == word {
		return byXID(h, n, guest.XID(x)), nil
	}
	return n, nil
}

// ByXID is the guest with the number x, or "".
func ByXID(h *Host, x guest.XID) guest.Name { return byXID(h, "", x) }

// byXID is the guest with the number x, unless one is called by the digits n.
func byXID(h *Host, n guest.Name, x guest.XID) guest.Name {
	if n != "" && Exists(h, n) {
		return n
	}
	all, err := h.List(false)
	if err != nil {
		return n
	}
	for _, s := range all {
		if s.XID == x {
			return s.Name
		}
	}
	return n
}

// Lend makes the changes, in the words of Set, of what a guest that runs has, and not in
// its spec: they hold until it ends or is changed again. The error is guest.ErrUnsupported
// for what a running guest cannot be given, and guest.ErrStopped when it does not run.
func Lend(h *Host, n guest.Name, changes []string) error {
	return fault.New(string(n), "set", config.Lend(h.Dirs, n, changes))
}

// Mount gives a guest that runs one more mount, as its spec's mounts are, until it ends.
func Mount(h *Host, n guest.Name, m guest.Mount) error {
	return fault.New(string(n), "mount", inside.Mount(h.Dirs, n, m))
}

// Unmounted gives those mounts of a running guest's spec that are not at their places.
func Unmounted(h *Host, n guest.Name) ([]guest.Mount, error) {
	list, err := inside.Unmounted(h.Dirs, n)
	return list, fault.New(string(n), "mount", err)
}

// MoveMount has what is mounted at one place of a running guest be mounted at another.
func MoveMount(h *Host, n guest.Name, from, to string) error {
	return fault.New(string(n), "mount", inside.Move(h.Dirs, n, from, to))
}

// KillAll sends a signal to all processes of a running guest, to its init as well if so
// wished.
func KillAll(h *Host, n guest.Name, sig guest.Signal, init bool) error {
	return fault.New(string(n), "kill", inside.KillAll(h.Dirs, n, sig, init))
}

// Pruned completes a guest that is being made (BuildOptions): what an exclude list names is
// taken away.
func Pruned(h *Host, n guest.Name, list io.Reader) (func(context.Context) error, error) {
	x, err := exclude.Parse(list)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return reach.Prune(ctx, h.Dirs, n, x.Wanted) }, nil
}
