package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/image"
	"vserver/kernel/solo"
)

type buildFlags struct {
	wishes
	method, debian, mirror, variant, template, from, image string
	packages, keys                                         []string
	password                                               string
	keep, fresh                                            bool
	old                                                    oldBuild
	rpm                                                    fromRPM
}

func newBuild(t *tool) *cobra.Command {
	var f buildFlags
	var c *cobra.Command
	c = command("build NAME [OPTION...]", `
Makes a guest and does not start it; otherwise as create. A build that fails or is
killed leaves nothing behind. The options of Linux-VServer's build, with the method's
own behind --, are understood for debootstrap, template, rsync, clone, skeleton, yum and rpm. Of the last two
the host's program installs the packages, as the guest's root and in its namespaces: by
yum with the repositories of /etc/vservers/.distributions/DIST/yum.repos.d, by rpm the
files that a MANIFEST lists.`, `
vserver build web1 -d trixie --ip 192.0.2.10/24
vserver web2 build -m clone --from web1
vserver web4 build -m yum -- -d el9 -- basesystem dnf
vserver web3 build -m debootstrap --context 40003 --interface eth0:192.0.2.12/24 -- -d bookworm`,
		func(ctx context.Context, args []string) error {
			args, err := t.presetOptions(c.Flags(), args)
			if err == nil {
				_, err = t.make(ctx, f, args)
			}
			return err
		})
	f.flags(c)
	return c
}

// flags adds what build and create have in common.
func (f *buildFlags) flags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVarP(&f.method, "method", "m", "", "`METHOD`: host, debootstrap, template, image, clone, rsync, skeleton, yum or rpm")
	fl.StringVarP(&f.debian, "debian", "d", "", "`SUITE` for debootstrap: bookworm, trixie, sid, ...")
	fl.StringVar(&f.mirror, "mirror", "", "`URL` of the mirror for debootstrap")
	fl.StringVar(&f.variant, "variant", "", "`VARIANT` of debootstrap, such as minbase")
	fl.StringSliceVar(&f.packages, "packages", nil, "further `PACKAGES` for debootstrap (repeatable)")
	fl.StringVarP(&f.template, "template", "t", "", "`FILE`, directory or registry reference to unpack")
	fl.StringVar(&f.from, "from", "", "`SOURCE` to copy: a guest, a directory, or root@HOST:DIR")
	fl.StringVar(&f.image, "image", "", "`IMAGE` of the pool to build upon, as vserver image list has them")
	fl.StringArrayVar(&f.keys, "ssh-key", nil, "`FILE` with public keys that may log in as root (repeatable)")
	fl.StringVar(&f.password, "root-password-file", "", "`FILE` with root's password, or a hash of it by crypt(3)")
	fl.BoolVar(&f.keep, "keep", false, "keep what a build that fails has made")
	fl.BoolVar(&f.fresh, "fresh", false, "make the files anew though the same image was made before")
	f.wishes.flags(c)
	c.RegisterFlagCompletionFunc("method", cobra.FixedCompletions(
		[]string{"host", "debootstrap", "template", "image", "clone", "rsync", "skeleton", "yum", "rpm"}, cobra.ShellCompDirectiveNoFileComp))
	f.old.flags(fl)
}

// make makes a guest.
func (t *tool) make(ctx context.Context, f buildFlags, args []string) (guest.Name, error) {
	word, rest := t.subject, args
	if word == "" {
		if len(args) == 0 {
			return "", usageHint("vserver "+t.verb+" --help", "what shall the guest be called?")
		}
		word, rest = args[0], args[1:]
	}
	n, err := guest.ParseName(word)
	if err != nil {
		return "", usage{err.Error()}
	}
	if err := refuseGone(f.old.asked, word, f.method); err != nil {
		return n, t.about(n, err)
	}
	if err := f.methodOptions(rest); err != nil {
		return n, t.about(n, err)
	}
	if err := f.old.settle(&f.wishes); err != nil {
		return n, t.about(n, err)
	}
	o, err := f.options()
	if err != nil {
		return n, t.about(n, err)
	}
	method, err := f.methodMeant(t.isGuest)
	if err != nil {
		return n, t.about(n, err)
	}
	back, err := t.aside(ctx, f.old.force, n)
	if err != nil {
		return n, t.about(n, err)
	}
	p := t.newProgress(n)
	o.Progress = p
	err = t.makeBy(ctx, f, method, n, o)
	p.end(err == nil)
	return n, t.about(n, join(err, back(err)))
}

// makeBy makes a guest by a method.
func (t *tool) makeBy(ctx context.Context, f buildFlags, method string, n guest.Name, o host.BuildOptions) (err error) {
	if o.Furnish, err = t.leavesOut(n, f.old.left); err != nil {
		return err
	}
	if method == "clone" && f.from != "" && !filepath.IsAbs(f.from) { // a directory is copied
		from, err := guest.ParseName(f.from)
		if err != nil {
			return usage{err.Error()}
		}
		return t.host.Clone(ctx, from, n, f.change, host.CloneOptions{BuildOptions: o})
	}
	spec, err := f.spec()
	if err == nil {
		err = t.presetMounts(spec)
	}
	if err == nil && method == "debootstrap" {
		err = t.presetDebootstrap(&f)
	}
	if err != nil {
		return err
	}
	src, err := t.source(f, method)
	if err != nil {
		return err
	}
	if isRPM(method) {
		if o.Furnish, err = t.furnish(f, method, n); err != nil {
			return err
		}
	}
	if src.Image == "" {
		solo.Over() // others are at work as well
	}
	return t.host.Build(ctx, n, spec, src, o)
}

// methodMeant is the method that was named, or the one that has the options given.
func (f buildFlags) methodMeant(isGuest func(string) bool) (string, error) {
	meant := map[string]bool{}
	switch {
	case f.from != "" && isGuest(f.from):
		meant["clone"] = true
	case f.from != "":
		meant["rsync"] = true
	}
	if f.debian != "" {
		meant["debootstrap"] = true
	}
	if f.template != "" {
		meant["template"] = true
	}
	if f.image != "" {
		meant["image"] = true
	}
	if len(meant) > 1 {
		return "", usagef("only one of --debian, --template, --image and --from says where the files come from")
	}
	for m := range meant {
		if f.method != "" && f.method != m && !(f.method == "rsync" && m == "clone") && !(f.method == "clone" && m == "rsync") {
			return "", usagef("--method %s does not go with the options of %s", f.method, m)
		}
		if f.method == "" {
			return m, nil
		}
	}
	if f.method == "" {
		return "host", nil
	}
	return f.method, nil
}

// isGuest tells whether a word is a guest's name.
func (t *tool) isGuest(word string) bool {
	n, err := guest.ParseName(word)
	if err != nil {
		return false
	}
	return host.Exists(t.host, n)
}

// source is where the files come from.
func (t *tool) source(f buildFlags, method string) (build.Source, error) {
	lacks := func(option string) (build.Source, error) {
		return build.Source{}, usageHint("vserver "+t.verb+" --help", "method %s wants %s", method, option)
	}
	switch method {
	case "host":
		return build.Host("/"), nil
	case "skeleton":
		return build.Skeleton(), nil
	case "yum", "rpm":
		return t.bare(&f.rpm, method)
	case "debootstrap":
		if f.debian == "" {
			return lacks("--debian SUITE")
		}
		return build.Debootstrap(build.DebootstrapOptions{
			Suite: f.debian, Mirror: f.mirror, Variant: f.variant, Packages: f.packages, Script: f.old.script, Etc: t.host.Dirs.Etc,
		}), nil
	case "template":
		if f.template == "" {
			return lacks("--template FILE")
		}
		return build.Template(image.Meant(f.template)), nil
	case "image":
		if f.image == "" {
			return lacks("--image IMAGE")
		}
		if f.fresh {
			return build.Source{}, usagef("--fresh: an image is what it is")
		}
		return build.Image(f.image), nil
	case "rsync", "clone":
		if f.from == "" {
			return lacks("--from SOURCE")
		}
		if err := t.isSource(f.from); err != nil {
			return build.Source{}, err
		}
		return build.Rsync(f.from), nil
	}
	return build.Source{}, usageHint("vserver "+t.verb+" --help", "--method %s: no such method", method)
}

// isSource refuses what --from cannot copy.
func (t *tool) isSource(from string) error {
	switch {
	case strings.HasPrefix(from, "/"):
		if _, err := os.Stat(from); err != nil {
			return usagef("--from %s: %v", from, errors.Unwrap(err))
		}
	case !strings.Contains(from, ":"):
		return usageHint("vserver list shows the guests", "--from %s: no such guest, and no absolute path or root@HOST:DIR", from)
	}
	return nil
}

// options are the rest of the flags as the host wants them.
func (f buildFlags) options() (o host.BuildOptions, err error) {
	o = host.BuildOptions{Keep: f.keep, Fresh: f.fresh}
	for _, file := range f.keys {
		keys, err := readKeyFile(file)
		if err != nil {
			return o, err
		}
		o.AuthorizedKeys = append(o.AuthorizedKeys, keys...)
	}
	if f.password != "" {
		o.RootPassword, err = readPassword(f.password)
	}
	return o, err
}

// readKeyFile reads public ssh keys, one a line.
func readKeyFile(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageHint("ssh-keygen -t ed25519 makes a key; the public one is then ~/.ssh/id_ed25519.pub",
			"--ssh-key %s: %v", file, errors.Unwrap(err))
	}
	if strings.Contains(string(text), "PRIVATE KEY-----") {
		return nil, fault.Hint(usagef("--ssh-key %s: is a private key", file), "the public one is in "+file+".pub")
	}
	var keys []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case !isKey(line):
			return nil, usagef("--ssh-key %s: %.40q is no public key", file, line)
		default:
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return nil, usagef("--ssh-key %s: holds no key", file)
	}
	return keys, nil
}

// isKey tells a line of an authorized_keys file, sshd(8): a kind and a key, behind
// options perhaps.
func isKey(line string) bool {
	words := strings.Fields(line)
	i := slices.IndexFunc(words, func(w string) bool {
		return strings.HasPrefix(w, "ssh-") || strings.HasPrefix(w, "ecdsa-sha2-") || strings.HasPrefix(w, "sk-")
	})
	return i >= 0 && i+1 < len(words)
}

// readPassword reads a password from a file and gives a hash of it.
func readPassword(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", usagef("--root-password-file %s: %v", file, errors.Unwrap(err))
	}
	word := strings.TrimRight(string(text), "\r\n")
	switch {
	case word == "":
		return "", usagef("--root-password-file %s: is empty", file)
	case strings.ContainsAny(word, "\n:"):
		return "", usagef("--root-password-file %s: want one line without a colon", file)
	case strings.HasPrefix(word, "$"):
		return word, nil
	}
	return hashPassword(word), nil
}
