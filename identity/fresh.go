package identity

import (
	"slices"
	"strings"

	"vserver/layer"
)

// Expect writes into a tree what Apply would write there for a new guest, but for what
// differs from one guest to the next: see Own. seen is the root of a guest that is to be
// compared with it: what the tool wrote there later, at a start or for a lease, counts as
// expected, and so do accounts that are still the tree's.
func (id Identity) Expect(r, seen *layer.Root) error {
	kept := true
	for _, p := range []string{"etc/shadow", "etc/passwd"} {
		same, err := alike(r, seen, p)
		if err != nil {
			return err
		}
		kept = kept && same
	}
	id.KeepAccounts, id.RootPassword = kept, ""
	asSeen := func(r *layer.Root) error { return id.asSeen(r, seen) }
	for _, part := range []func(*layer.Root) error{Strip, id.files, id.ApplyName, id.ApplyResolver, asSeen, id.root, logins} {
		if err := part(r); err != nil && !notThere(err) {
			return err
		}
	}
	return nil
}

func alike(a, b *layer.Root, p string) (bool, error) {
	x, err := read(a, p)
	if err != nil {
		return false, err
	}
	y, err := read(b, p)
	return x == y, err
}

// asSeen takes over the files that a start writes, when nobody else changed them.
func (id Identity) asSeen(r, seen *layer.Root) error {
	hosts, err := read(seen, "etc/hosts")
	if err != nil {
		return err
	}
	want, err := read(r, "etc/hosts")
	if err != nil {
		return err
	}
	plain := func(text string) string { return hostsFile(names(text, nil), id.Hostname, id.Hostname, id.Address) }
	if plain(hosts) == plain(want) {
		if err := r.Write("etc/hosts", []byte(hosts), 0o644, 0, 0); err != nil {
			return err
		}
	}
	resolver, err := read(seen, "etc/resolv.conf")
	if err != nil || !strings.HasPrefix(resolver, resolverMark) {
		return err
	}
	return r.Write("etc/resolv.conf", []byte(resolver), 0o644, 0, 0)
}

// Own tells whether a path is that of a file that makes a system this one and no other,
// which Strip takes away.
func Own(p string) bool {
	p = strings.TrimPrefix(p, "/")
	return slices.Contains(personal(), p) || strings.HasPrefix(p, "etc/ssh/ssh_host_")
}

// Given tells whether a path is that of a file which each guest has of its own: one of Own, or
// one that Apply writes from its spec.
func Given(p string) bool {
	return Own(p) || slices.Contains([]string{"etc/hostname", "etc/hosts", "etc/resolv.conf"}, strings.TrimPrefix(p, "/"))
}
