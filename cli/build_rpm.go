package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"vserver/build"
	"vserver/guest"
	"vserver/host"
)

// fromRPM are the methods that make a guest of rpm packages, as util-vserver had them: by
// the host's yum or rpm, which run as the guest's root, in its namespaces.
type fromRPM struct {
	dist, base    string
	empty         bool
	force, nodeps bool
	manifests     []string // of method rpm
}

// isRPM tells whether a method is one of them.
func isRPM(method string) bool { return method == "yum" || method == "rpm" }

// options reads those behind the first "--".
func (r *fromRPM) options(words []string) error {
	fl := pflag.NewFlagSet("", pflag.ContinueOnError)
	fl.StringVarP(&r.dist, "dist", "d", "", "")
	fl.StringVarP(&r.base, "base", "b", ".", "")
	fl.BoolVarP(&r.empty, "empty", "e", false, "")
	fl.BoolVar(&r.force, "force", false, "")
	fl.BoolVar(&r.nodeps, "nodeps", false, "")
	err := fl.Parse(words)
	r.manifests = fl.Args()
	return err
}

// recipe is a directory of .distributions/DIST, "" when there is none.
func (t *tool) recipe(dist, name string) string {
	dir := filepath.Join(t.host.Dirs.Config, ".distributions", dist, name)
	if info, err := os.Stat(dir); dist == "" || err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// furnish installs the packages of a guest that has none. A guest for which that fails is
// taken away again.
func (t *tool) furnish(ctx context.Context, f buildFlags, method string, n guest.Name) error {
	err := t.keys(ctx, f.rpm.dist, n)
	switch {
	case err != nil:
	case method == "yum":
		err = t.yum(ctx, f, n)
	case f.rpm.empty:
		err = t.packager(ctx, n, "rpm", "--initdb")
	default:
		err = t.rpms(ctx, f.rpm, n)
	}
	if err != nil && !f.keep {
		err = join(err, t.host.Delete(context.WithoutCancel(ctx), n, host.DeleteOptions{}))
	}
	return err
}

// packager runs a package manager, and takes another end than 0 for an error.
func (t *tool) packager(ctx context.Context, n guest.Name, program string, args ...string) error {
	c := t.plain()
	c.Stdout = t.err
	code, err := host.RunPackager(ctx, t.host, n, program, args, c)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s %s ended with code %d: %w", program, strings.Join(args, " "), code, guest.ErrInvalid)
	}
	return err
}

// into copies files of the host's into a guest's directory, or as it.
func (t *tool) into(ctx context.Context, n guest.Name, to string, from ...string) error {
	var places []host.CopyPlace
	for _, p := range from {
		places = append(places, host.CopyPlace{Path: p})
	}
	return host.CopyFiles(ctx, t.host, places, host.CopyPlace{Guest: n, Path: to}, host.CopyOptions{Recursive: true})
}

// keys has the guest know the keys of a distribution's packages.
func (t *tool) keys(ctx context.Context, dist string, n guest.Name) error {
	dir := t.recipe(dist, "pubkeys")
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err == nil {
		err = t.into(ctx, n, "/etc/pki", dir)
	}
	for _, e := range entries {
		if err == nil {
			err = t.packager(ctx, n, "rpm", "--import", "/guest/etc/pki/"+e.Name())
		}
	}
	return err
}

// yum installs the packages of a distribution's lists, and those that are named, from its
// repositories.
func (t *tool) yum(ctx context.Context, f buildFlags, n guest.Name) error {
	if err := t.into(ctx, n, "/etc/yum.repos.d", t.recipe(f.rpm.dist, "yum.repos.d")); err != nil {
		return err
	}
	lists, err := t.packageLists(f.rpm.dist)
	if err != nil {
		return err
	}
	if len(f.packages) > 0 {
		lists = append(lists, f.packages)
	}
	for _, list := range lists {
		perhaps := slices.Contains(list, "--can-fail")
		list = slices.DeleteFunc(list, func(w string) bool { return w == "--can-fail" || w == "--reinstall" })
		err := t.packager(ctx, n, "yum", slices.Concat([]string{"-y", "install"}, list)...)
		if perhaps && err != nil && ctx.Err() == nil {
			t.warn(n, err.Error())
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// packageLists reads .distributions/DIST/pkgs.
func (t *tool) packageLists(dist string) (lists [][]string, err error) {
	dir := t.recipe(dist, "pkgs")
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		words, err := readWords(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if len(words) > 0 {
			lists = append(lists, words)
		}
	}
	return lists, err
}

// readWords reads the words of a file without its comments.
func readWords(file string) (words []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		line, _, _ := strings.Cut(in.Text(), "#")
		words = append(words, strings.Fields(line)...)
	}
	return words, in.Err()
}

// rpms installs packages that are files of the host's.
func (t *tool) rpms(ctx context.Context, r fromRPM, n guest.Name) error {
	const at = "/var/cache/.rpms"
	files, err := r.files()
	if err != nil {
		return err
	}
	empty, err := os.MkdirTemp("", "vserver-rpms")
	if err != nil {
		return err
	}
	defer os.RemoveAll(empty)
	for _, dir := range []string{path.Dir(at), at} { // which it becomes: the guest has none
		if err := t.into(ctx, n, dir, empty); err != nil {
			return err
		}
	}
	if err := t.into(ctx, n, at, files...); err != nil {
		return err
	}
	args := []string{"-U"}
	if r.force {
		args = append(args, "--force")
	}
	if r.nodeps {
		args = append(args, "--nodeps")
	}
	for _, f := range files {
		args = append(args, path.Join(at, filepath.Base(f)))
	}
	if err := t.packager(ctx, n, "rpm", args...); err != nil {
		return err
	}
	return t.packager(ctx, n, "rm", "-r", at)
}

// files are the packages that the manifests list, below base unless they begin with '/'.
func (r *fromRPM) files() (files []string, err error) {
	for _, m := range r.manifests {
		words, err := readWords(m)
		if err != nil {
			return nil, usagef("manifest %v", err)
		}
		for _, w := range words {
			if !filepath.IsAbs(w) {
				w = filepath.Join(r.base, w)
			}
			if w, err = filepath.Abs(w); err != nil {
				return nil, err
			}
			if _, err := os.Stat(w); err != nil {
				return nil, usagef("manifest %s: %v", m, err)
			}
			files = append(files, w)
		}
	}
	if len(files) == 0 && !r.empty {
		return nil, usageHint("`vserver NAME build -m rpm -- --empty` makes a guest with an empty database of packages", "method rpm wants a manifest, a file with the paths of packages")
	}
	return files, nil
}

// bare is the root that packages are installed in, if it is known which.
func (t *tool) bare(r *fromRPM, method string) (build.Source, error) {
	var err error
	if method == "rpm" {
		_, err = r.files()
	} else if t.recipe(r.dist, "yum.repos.d") == "" {
		err = usageHint("the distribution's own are in its /etc/yum.repos.d", "method yum wants -d DIST behind --, and %s",
			filepath.Join(t.host.Dirs.Config, ".distributions/DIST/yum.repos.d"))
	}
	return build.Bare(), err
}
