package identity

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"vserver/layer"
)

// Resolver is what a resolv.conf says.
type Resolver struct {
	Servers []netip.Addr
	Search  []string
	Options []string
}

// HostResolver reads the resolver settings of the host whose root is at root ("/").
// Name servers on the loopback (the stub of systemd-resolved, a local dnsmasq) are
// answered by nobody inside a guest with a network of its own: then the real servers
// that systemd-resolved knows are taken, and other loopback ones are left out. With
// loopback true, for a guest in the host's own network, all stay.
func HostResolver(root string, loopback bool) (Resolver, error) {
	text, err := os.ReadFile(filepath.Join(root, "etc/resolv.conf"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Resolver{}, err
	}
	r := parseResolver(string(text))
	if loopback {
		return r, nil
	}
	if real := r.remote(); len(real) > 0 {
		r.Servers = real
		return r, nil
	}
	text, err = os.ReadFile(filepath.Join(root, "run/systemd/resolve/resolv.conf"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	up := parseResolver(string(text))
	r.Servers = up.remote()
	if len(r.Search) == 0 {
		r.Search = up.Search
	}
	return r, err
}

func (r Resolver) remote() (out []netip.Addr) {
	for _, a := range r.Servers {
		if !a.IsLoopback() {
			out = append(out, a)
		}
	}
	return out
}

func parseResolver(text string) (r Resolver) {
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		switch w[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(w[1]); err == nil {
				r.Servers = append(r.Servers, a)
			}
		case "search", "domain":
			r.Search = w[1:]
		case "options":
			r.Options = append(r.Options, w[1:]...)
		}
	}
	return r
}

// resolverMark is the first line of each resolv.conf that is ours.
const resolverMark = "# Written by vserver from the guest's spec (network.dns), its lease or the host's resolv.conf.\n"

// String is the text of the resolv.conf.
func (r Resolver) String() string {
	var b strings.Builder
	b.WriteString(resolverMark)
	for _, a := range r.Servers {
		b.WriteString("nameserver " + a.String() + "\n")
	}
	if len(r.Search) > 0 {
		b.WriteString("search " + strings.Join(r.Search, " ") + "\n")
	}
	if len(r.Options) > 0 {
		b.WriteString("options " + strings.Join(r.Options, " ") + "\n")
	}
	return b.String()
}

// ApplyResolver writes the resolv.conf, in place of a symbolic link too.
func (id Identity) ApplyResolver(r *layer.Root) error {
	text := id.Resolver.String()
	if was, err := read(r, "etc/resolv.conf"); err != nil || was == text {
		return err
	}
	return r.Write("etc/resolv.conf", []byte(text), 0o644, 0, 0)
}
