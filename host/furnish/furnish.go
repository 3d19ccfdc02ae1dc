// Package furnish makes a system of packages in a guest that has none, as util-vserver's
// build methods yum and rpm did: by the host's yum or rpm, which run as the guest's root,
// in its namespaces (package packages).
package furnish

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"vserver/guest"
	"vserver/host/inside"
	"vserver/host/packages"
	"vserver/host/reach"
)

// Recipe is what a guest is to have.
type Recipe struct {
	Dist string // a directory of .distributions; "" is none
	Yum  bool   // packages come from the distribution's repositories
	// Packages are the names of packages beside those of the distribution's lists, with Yum,
	// and else their files on the host. Without any the database of packages is empty.
	Packages      []string
	Force, NoDeps bool // of rpm
}

// cook is a recipe being followed.
type cook struct {
	Recipe
	dirs    guest.Dirs
	n       guest.Name
	command inside.Command // has the files and signals of package managers
	warn    func(error)
}

// Run follows a recipe. Package managers get c's files; a list of packages that may fail is
// told to warn.
func Run(ctx context.Context, d guest.Dirs, n guest.Name, r Recipe, c inside.Command, warn func(error)) error {
	k := &cook{r, d, n, c, warn}
	if err := k.keys(ctx); err != nil {
		return err
	}
	switch {
	case r.Yum:
		return k.yum(ctx)
	case len(r.Packages) == 0:
		return k.run(ctx, "rpm", "--initdb")
	}
	return k.rpm(ctx)
}

// Dir is a directory of .distributions/DIST, "" when there is none.
func Dir(d guest.Dirs, dist, name string) string {
	dir := filepath.Join(d.Config, ".distributions", dist, name)
	if info, err := os.Stat(dir); dist == "" || err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// run runs a package manager, and takes another end than 0 for an error.
func (k *cook) run(ctx context.Context, program string, args ...string) error {
	code, err := packages.Run(ctx, k.dirs, k.n, program, args, k.command)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s %s ended with code %d: %w", program, strings.Join(args, " "), code, guest.ErrInvalid)
	}
	return err
}

// into copies files of the host's into a guest's directory, or as it.
func (k *cook) into(ctx context.Context, to string, from ...string) error {
	var places []reach.Place
	for _, p := range from {
		places = append(places, reach.Place{Path: p})
	}
	return reach.Copy(ctx, k.dirs, places, reach.Place{Guest: k.n, Path: to}, reach.Options{Recursive: true})
}

// keys has the guest know the keys of a distribution's packages.
func (k *cook) keys(ctx context.Context) error {
	dir := Dir(k.dirs, k.Dist, "pubkeys")
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err == nil {
		err = k.into(ctx, "/etc/pki", dir)
	}
	for _, e := range entries {
		if err == nil {
			err = k.run(ctx, "rpm", "--import", "/guest/etc/pki/"+e.Name())
		}
	}
	return err
}

// yum installs the packages of a distribution's lists, and those that are named, from its
// repositories.
func (k *cook) yum(ctx context.Context) error {
	if err := k.into(ctx, "/etc/yum.repos.d", Dir(k.dirs, k.Dist, "yum.repos.d")); err != nil {
		return err
	}
	lists, err := lists(Dir(k.dirs, k.Dist, "pkgs"))
	if err != nil {
		return err
	}
	if len(k.Packages) > 0 {
		lists = append(lists, k.Packages)
	}
	for _, list := range lists {
		perhaps := slices.Contains(list, "--can-fail")
		list = slices.DeleteFunc(list, func(w string) bool { return w == "--can-fail" || w == "--reinstall" })
		err := k.run(ctx, "yum", slices.Concat([]string{"-y", "install"}, list)...)
		if perhaps && err != nil && ctx.Err() == nil {
			k.warn(err)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lists reads .distributions/DIST/pkgs.
func lists(dir string) (lists [][]string, err error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		words, err := words(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if len(words) > 0 {
			lists = append(lists, words)
		}
	}
	return lists, err
}

// words reads the words of a file without its comments.
func words(file string) (words []string, err error) {
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

// rpm installs packages that are files of the host's.
func (k *cook) rpm(ctx context.Context) error {
	const at = "/var/cache/.rpms"
	empty, err := os.MkdirTemp("", "vserver-rpms")
	if err != nil {
		return err
	}
	defer os.RemoveAll(empty)
	for _, dir := range []string{path.Dir(at), at} { // which it becomes: the guest has none
		if err := k.into(ctx, dir, empty); err != nil {
			return err
		}
	}
	if err := k.into(ctx, at, k.Packages...); err != nil {
		return err
	}
	args := []string{"-U"}
	if k.Force {
		args = append(args, "--force")
	}
	if k.NoDeps {
		args = append(args, "--nodeps")
	}
	for _, f := range k.Packages {
		args = append(args, path.Join(at, filepath.Base(f)))
	}
	if err := k.run(ctx, "rpm", args...); err != nil {
		return err
	}
	return k.run(ctx, "rm", "-r", at)
}

// Manifest gives the packages that a manifest lists, below base unless they begin with '/'.
func Manifest(file, base string) ([]string, error) {
	list, err := words(file)
	if err != nil {
		return nil, err
	}
	for i, w := range list {
		if !filepath.IsAbs(w) {
			w = filepath.Join(base, w)
		}
		if list[i], err = filepath.Abs(w); err != nil {
			return nil, err
		}
		if _, err := os.Stat(list[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return list, nil
}
