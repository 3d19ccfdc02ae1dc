package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
)

// DebootstrapOptions say what to install.
type DebootstrapOptions struct {
	Suite string // bookworm, trixie, sid …
	// Mirror is the URL of the archive; "" is the one that this host uses.
	Mirror string
	// Variant is one of debootstrap's; "" is minbase, and important its own default.
	Variant string
	// Packages are wanted beyond the usual ones; one that is an init takes systemd's place.
	Packages []string
	// Keyring checks the archive; "" is the tool's own. An archive is never taken
	// unchecked.
	Keyring string
	// Script is the file with the steps of the installation, or the name of one of
	// debootstrap's own; "" is the one that it has for the suite.
	Script string
	// Etc is the host's /etc, read for the mirror; "" is /etc.
	Etc string
}

// usual are the packages that make a server of a minimal Debian: an init, logins by ssh
// and sudo, cron, and what looks after a network.
var usual = []string{
	"systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "ca-certificates", "cron", "iproute2",
	"iputils-ping", "logrotate", "netbase", "procps", "sudo", "tzdata",
}

// inits are packages with an init that systemd's cannot be installed beside.
var inits = []string{"sysvinit-core", "runit-init", "finit-sysv", "dinit-init"}

// Debootstrap installs Debian or one of its kin by debootstrap. Images are used again
// for the same settings, however old they are: BuildOptions.Fresh makes a new one.
func Debootstrap(o DebootstrapOptions) Source {
	text := o.Suite
	if o.Mirror != "" {
		text += " from " + o.Mirror
	}
	return Source{
		Method: "debootstrap", Text: text,
		Name: func(context.Context) (string, error) {
			s, err := o.settle()
			decides := []string{"debootstrap 3", s.Suite, s.Variant, s.Mirror, strings.Join(s.Packages, ","), s.Keyring, runtime.GOARCH}
			if err == nil && s.Script != "" {
				var text []byte
				text, err = os.ReadFile(s.Script)
				decides = append(decides, string(text))
			}
			return imageName([]string{s.Suite, s.Variant}, decides...), err
		},
		Fill: func(ctx context.Context, dir string, p Progress) error {
			s, err := o.settle()
			if err != nil {
				return err
			}
			return s.fill(ctx, dir, p)
		},
	}
}

// settle checks the options and fills in the defaults. All of them become words of a
// command line: none may be taken for an option or a list.
func (o DebootstrapOptions) settle() (DebootstrapOptions, error) {
	if o.Etc == "" {
		o.Etc = "/etc"
	}
	if o.Variant == "" {
		o.Variant = "minbase"
	}
	var fromHost aptSources
	if o.Mirror == "" {
		fromHost = readApt(o.Etc)
		o.Mirror = fromHost.mirror
	}
	u, err := url.Parse(o.Mirror)
	if err != nil || !slices.Contains([]string{"http", "https", "file", "ssh"}, u.Scheme) || strings.ContainsAny(o.Mirror, " \t\n\"'") {
		return o, fmt.Errorf("mirror %q: want a URL: %w", o.Mirror, guest.ErrInvalid)
	}
	for _, w := range []struct {
		what, value string
		pattern     *regexp.Regexp
	}{
		{"suite", o.Suite, regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)},
		{"variant", o.Variant, regexp.MustCompile(`^[a-z][a-z-]*$`)},
		{"keyring", o.Keyring, regexp.MustCompile(`^(/[^,\n]+)?$`)},
	} {
		if !w.pattern.MatchString(w.value) {
			return o, fmt.Errorf("%s %q: no name of one: %w", w.what, w.value, guest.ErrInvalid)
		}
	}
	if o.Script == "" {
		err = knownSuite(suites, o.Suite)
	} else {
		o.Script, err = script(o.Script)
	}
	if err != nil {
		return o, err
	}
	packages := slices.Clone(usual)
	if slices.ContainsFunc(o.Packages, func(p string) bool { return slices.Contains(inits, p) }) {
		packages = slices.DeleteFunc(packages, func(p string) bool { return p == "systemd-sysv" || p == "libpam-systemd" })
	}
	name := regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	for _, p := range o.Packages {
		if !name.MatchString(p) {
			return o, fmt.Errorf("package %q: no name of one: %w", p, guest.ErrInvalid)
		}
	}
	packages = append(packages, o.Packages...)
	slices.Sort(packages)
	o.Packages = slices.Compact(packages)
	return o, nil
}

func (o DebootstrapOptions) fill(ctx context.Context, dir string, p Progress) error {
	args := []string{"--force-check-gpg", "--include=" + strings.Join(o.Packages, ",")}
	if o.Variant != "important" {
		args = append(args, "--variant="+o.Variant)
	}
	if o.Keyring != "" {
		args = append(args, "--keyring="+o.Keyring)
	}
	args = append(args, o.Suite, dir, o.Mirror)
	if o.Script != "" {
		args = append(args, o.Script)
	}
	p.Say("install %s (%s) from %s", o.Suite, o.Variant, o.Mirror)
	t := tool{
		name: "debootstrap", pkg: "debootstrap", args: args,
		// An image is written to the disk as a whole when it is done.
		env: []string{"DEBIAN_FRONTEND=noninteractive", "DPKG_FORCE=unsafe-io"}, line: phases(p),
	}
	begun := time.Now()
	if err := t.run(ctx); err != nil {
		return err
	}
	return o.finish(dir, begun)
}

// phases tells of debootstrap's lines how far it is: each package is retrieved, then
// each extracted or unpacked, then each configured.
func phases(p Progress) func(string) {
	count := map[string]int{}
	return func(line string) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "I:" {
			return
		}
		what := strings.ToLower(words[1])
		if !slices.Contains([]string{"retrieving", "validating", "extracting", "unpacking", "configuring"}, what) {
			return
		}
		count[what]++
		p.Say("%s package %d: %s", what, count[what], strings.TrimSuffix(words[2], "..."))
	}
}

// left is what an installation leaves that is no part of the system: its tool's own, and, as
// mmdebstrap(1) has it, logs of it and a cache by numbers of inodes, which no two have in common.
var left = []string{
	"debootstrap", "usr/sbin/policy-rc.d", "etc/resolv.conf", "etc/hostname",
	"var/log/bootstrap.log", "var/log/dpkg.log", "var/log/alternatives.log", "var/cache/ldconfig/aux-cache",
}

// finish writes the package sources, takes away what the tool left for itself, and makes the
// times of what it wrote since begun one.
func (o DebootstrapOptions) finish(dir string, begun time.Time) error {
	root, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, p := range left {
		d, name, err := root.Parent(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = d.RemoveAll(name)
		d.Close()
		if err != nil {
			return err
		}
	}
	if err := empty(root, "var/cache/apt/archives", "partial"); err != nil {
		return err
	}
	if err := empty(root, "var/lib/apt/lists", "partial"); err != nil {
		return err
	}
	apt, name, err := root.Parent("etc/apt/sources.list")
	if err != nil {
		return err
	}
	defer apt.Close()
	if err := apt.RemoveAll(name); err != nil {
		return err
	}
	if err := write(apt, name, o.sources(), 0o644, 0); err != nil {
		return err
	}
	if err := updated(root); err != nil {
		return err
	}
	if err := locale(root); err != nil {
		return err
	}
	return level(root, begun)
}

// updated says that /etc and /var are in step with /usr, which is where the packages'
// scripts left them, as systemd-update-done.service(8) has it. Without it the units for
// an offline update (ConditionNeedsUpdate) would run in every boot of a release that
// does not bring that service.
func updated(root *file.Dir) error {
	for _, p := range []string{"etc/.updated", "var/.updated"} {
		d, name, err := root.Parent(p)
		if err != nil {
			return err
		}
		err = write(d, name, "", 0o644, 0)
		d.Close()
		if err != nil && !isExist(err) {
			return err
		}
	}
	return nil
}

// locale sets the one locale that every C library brings, unless packages set another.
func locale(root *file.Dir) error {
	d, name, err := root.Parent("etc/default/locale")
	if err != nil {
		return err
	}
	defer d.Close()
	err = write(d, name, "LANG=C.UTF-8\n", 0o644, 0)
	if isExist(err) {
		return nil
	}
	return err
}

// empty empties a directory but for one entry.
func empty(root *file.Dir, p, but string) error {
	d, _, err := root.Parent(filepath.Join(p, "x"))
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Names()
	for _, n := range names {
		if n != but && err == nil {
			err = d.RemoveAll(n)
		}
	}
	return err
}

// sources is the guest's sources.list: the mirror, with updates and security where this
// host has these from Debian for itself.
func (o DebootstrapOptions) sources() string {
	text := fmt.Sprintf("deb %s %s main\n", o.Mirror, o.Suite)
	host := readApt(o.Etc)
	if host.mirror != o.Mirror || o.Suite == "sid" || o.Suite == "unstable" {
		return text
	}
	if host.updates {
		text += fmt.Sprintf("deb %s %s-updates main\n", o.Mirror, o.Suite)
	}
	if host.security != "" {
		text += fmt.Sprintf("deb %s %s-security main\n", host.security, o.Suite)
	}
	return text
}

// aptSources is what apt's settings say of where this host gets Debian from.
type aptSources struct {
	mirror   string
	updates  bool
	security string // URL, "" when none is set
}

// officialMirror is Debian's own, which leads to one nearby.
const officialMirror = "http://deb.debian.org/debian"

// readApt reads apt's sources, both formats. The mirror is the first archive that has
// the component main and no suite of additions.
func readApt(etc string) (s aptSources) {
	files, _ := filepath.Glob(filepath.Join(etc, "apt/sources.list.d/*"))
	slices.Sort(files)
	for _, f := range append([]string{filepath.Join(etc, "apt/sources.list")}, files...) {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		switch filepath.Ext(f) {
		case ".list":
			s.oneLine(string(text))
		case ".sources":
			s.deb822(string(text))
		}
	}
	if s.mirror == "" {
		s.mirror = officialMirror
	}
	return s
}

func (s *aptSources) oneLine(text string) {
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] != "deb" {
			continue
		}
		w = w[1:]
		if len(w) > 0 && strings.HasPrefix(w[0], "[") {
			end := slices.IndexFunc(w, func(x string) bool { return strings.HasSuffix(x, "]") })
			w = w[end+1:]
		}
		if len(w) > 2 {
			s.add(w[:1], w[1:2], w[2:])
		}
	}
}

func (s *aptSources) deb822(text string) {
	for part := range strings.SplitSeq(text, "\n\n") {
		fields := map[string][]string{}
		for line := range strings.Lines(part) {
			if key, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
				fields[strings.ToLower(strings.TrimSpace(key))] = strings.Fields(value)
			}
		}
		if slices.Contains(fields["types"], "deb") && !slices.Contains(fields["enabled"], "no") {
			s.add(fields["uris"], fields["suites"], fields["components"])
		}
	}
}

func (s *aptSources) add(uris, suites, components []string) {
	if len(uris) == 0 || !slices.Contains(components, "main") {
		return
	}
	for _, suite := range suites {
		_, kind, _ := strings.Cut(suite, "-")
		switch kind {
		case "":
			if s.mirror == "" && (strings.Contains(uris[0], "debian") || strings.Contains(uris[0], "ubuntu")) {
				s.mirror = uris[0]
			}
		case "updates":
			s.updates = true
		case "security":
			s.security = uris[0]
		}
	}
}
