// Package identity writes what makes a guest's root this guest's and no other's: host
// name, addresses of name servers, machine id, root's way to log in, ssh host keys.
// It writes into the guest's own layer, with the guest's ids, through package layer.
package identity

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/layer"
)

// maxFile is the largest file of a guest that is read here, in bytes; what is larger
// is no configuration file.
const maxFile = 1 << 20

// Identity is who a guest is.
type Identity struct {
	Hostname string
	Address  netip.Addr // primary one; the zero Addr when there is none
	Resolver Resolver
	// RootPassword is a hash as crypt(3) writes it. "" locks root's password: a key
	// still logs in.
	RootPassword string
	// KeepAccounts leaves root's password as it is in the tree: for the copy of a
	// server that moves.
	KeepAccounts bool
	// AuthorizedKeys are lines for root's authorized_keys; none leaves the file alone.
	AuthorizedKeys []string
	// Files are texts for files of /etc that are empty or not there.
	Files map[string]string
}

// Apply writes everything, for a new guest. Masks is for the tree that it lies over.
func (id Identity) Apply(r *layer.Root) error {
	renewed, made := hostKeys(r)
	renewed = append(renewed, "etc/machine-id")
	old := func(r *layer.Root) error { return strip(r, renewed) }
	for _, part := range []func(*layer.Root) error{
		old, id.files, id.ApplyName, id.ApplyResolver, machineID, id.root, id.keys, logins, made,
	} {
		if err := part(r); err != nil {
			return fmt.Errorf("identity: %w", err)
		}
	}
	return nil
}

// files writes those that are empty.
func (id Identity) files(r *layer.Root) error {
	for name, text := range id.Files {
		at := "etc/" + name
		if st, err := r.Stat(at); err != nil && !notThere(err) || err == nil && st.Size > 0 {
			continue // or a directory, or no file that is ours to judge
		}
		if err := r.Write(at, []byte(text), 0o644, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// Strip takes away what must not be shared by two systems: ssh host keys, seeds of
// random numbers and secrets, the second machine id that old D-Bus keeps.
func Strip(r *layer.Root) error { return strip(r, nil) }

// personal are the files that two systems must not share, beside ssh host keys.
func personal() []string {
	return []string{
		"var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
		"var/lib/urandom/random-seed", "etc/machine-id",
	}
}

// strip does so but for files that are to be replaced: one that is taken away first is a
// whiteout on the disk for a moment.
func strip(r *layer.Root, renewed []string) error {
	gone := personal()
	names, err := r.Names("etc/ssh")
	if err != nil && !notThere(err) {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, "ssh_host_") {
			gone = append(gone, "etc/ssh/"+n)
		}
	}
	for _, p := range gone {
		// Each start of systemd makes the link of old D-Bus to the id that is renewed.
		if to, err := r.Readlink(p); err == nil && to == "/etc/machine-id" {
			continue
		}
		if slices.Contains(renewed, p) {
			if st, err := r.Stat(p); err == nil && st.Type() == file.TypeFile {
				continue
			}
		}
		if err := r.Remove(p); err != nil && !notThere(err) {
			return err
		}
	}
	return nil
}

// notThere says that a path is not in the tree, or behind something odd (a symbolic
// link, a file) that we do not follow.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, layer.ErrOdd)
}

// ApplyName writes the host name and puts it into the hosts file. Names of other guests
// are taken out: they come with its next start.
func (id Identity) ApplyName(r *layer.Root) error {
	old, err := read(r, "etc/hostname")
	if err != nil {
		return err
	}
	hosts, err := read(r, "etc/hosts")
	if err != nil {
		return err
	}
	text := hostsFile(names(hosts, nil), strings.TrimSpace(old), id.Hostname, id.Address)
	if err := r.Write("etc/hostname", []byte(id.Hostname+"\n"), 0o644, 0, 0); err != nil {
		return err
	}
	return r.Write("etc/hosts", []byte(text), 0o644, 0, 0)
}

// read gives the text of a file, "" when it is not there or is no small file.
func read(r *layer.Root, p string) (string, error) {
	b, err := r.Read(p, maxFile)
	if notThere(err) {
		return "", nil
	}
	return string(b), err
}

// hostsFile edits a hosts file: lines for the old name, and Debian's 127.0.1.1, make
// room for one with the new name; localhost gets its lines when it has none.
func hostsFile(text, old, name string, addr netip.Addr) string {
	short, _, full := strings.Cut(name, ".")
	if full {
		name += " " + short
	}
	oldShort, _, _ := strings.Cut(old, ".")
	var out []string
	local4, local6 := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		words := strings.Fields(line)
		if len(words) > 1 && !strings.HasPrefix(words[0], "#") {
			isOld := words[1] == "localhost"
			local4 = local4 || isOld && words[0] == "127.0.0.1"
			local6 = local6 || words[0] == "::1"
			if words[0] == "127.0.1.1" || !isOld && old != "" && (words[1] == old || words[1] == oldShort) {
				continue
			}
		}
		out = append(out, line)
	}
	own := "127.0.1.1"
	if addr.IsValid() {
		own = addr.String()
	}
	if !local4 {
		out = append(out, "127.0.0.1\tlocalhost")
	}
	out = append(out, own+"\t"+name)
	if !local6 {
		out = append(out, "::1\tlocalhost ip6-localhost ip6-loopback", "ff02::1\tip6-allnodes", "ff02::2\tip6-allrouters")
	}
	return strings.Join(out, "\n") + "\n"
}

// machineID gives the system a new machine id, see machine-id(5).
func machineID(r *layer.Root) error {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a random UUID's marks
	return r.Write("etc/machine-id", []byte(hex.EncodeToString(b[:])+"\n"), 0o444, 0, 0)
}

// root sets or locks root's password. An empty password field, which lets anybody in,
// does not survive.
func (id Identity) root(r *layer.Root) error {
	if id.KeepAccounts && id.RootPassword == "" {
		return nil
	}
	hash := id.RootPassword
	if hash == "" {
		hash = "*" // not "!": sshd takes that for an account that is closed to keys as well
	}
	if strings.ContainsAny(hash, ":\n\r\x00") {
		return fmt.Errorf("root password hash: want what crypt(3) writes, as `openssl passwd -6` gives: %w", guest.ErrInvalid)
	}
	shadow, err := read(r, "etc/shadow")
	if err != nil {
		return err
	}
	passwd, err := read(r, "etc/passwd")
	if err != nil || passwd == "" {
		return err
	}
	field := "x"
	if shadow == "" {
		field = hash
	} else {
		line := "root:" + hash + ":19000:0:99999:7:::"
		if err := rewrite(r, "etc/shadow", shadow, setField(shadow, hash, line), 0o640); err != nil {
			return err
		}
	}
	return rewrite(r, "etc/passwd", passwd, setField(passwd, field, "root:"+field+":0:0:root:/root:/bin/sh"), 0o644)
}

// setField sets the second field of root's line, or adds the line.
func setField(text, value, line string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		f := strings.Split(l, ":")
		if f[0] == "root" && len(f) > 1 {
			f[1] = value
			lines[i] = strings.Join(f, ":")
			return strings.Join(lines, "\n") + "\n"
		}
	}
	return strings.Join(append(lines, line), "\n") + "\n"
}

// rewrite replaces a file that keeps its owner and mode, unless the text is the same.
func rewrite(r *layer.Root, p, old, text string, perm uint32) error {
	if old == text {
		return nil
	}
	st, err := r.Stat(p)
	if err != nil {
		st = file.Stat{Mode: perm}
	}
	return r.Write(p, []byte(text), st.Perm(), st.UID, st.GID)
}

// keys writes root's authorized_keys.
func (id Identity) keys(r *layer.Root) error {
	if len(id.AuthorizedKeys) == 0 {
		return nil
	}
	for _, k := range id.AuthorizedKeys {
		if strings.ContainsAny(k, "\n\r\x00") || len(strings.Fields(k)) < 2 {
			return fmt.Errorf("ssh key %.40q: want one line of an authorized_keys file: %w", k, guest.ErrInvalid)
		}
	}
	if err := r.Mkdir("root", 0o700, 0, 0); err != nil {
		return err
	}
	if err := r.Mkdir("root/.ssh", 0o700, 0, 0); err != nil {
		return err
	}
	return r.Write("root/.ssh/authorized_keys", []byte(strings.Join(id.AuthorizedKeys, "\n")+"\n"), 0o600, 0, 0)
}
