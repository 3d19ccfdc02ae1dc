package cli

import (
	"context"
	"path/filepath"

	"github.com/spf13/pflag"

	"vserver/build"
	"vserver/guest"
	"vserver/host"
)

// fromRPM are the options of the methods that make a guest of rpm packages, as util-vserver
// had them.
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

// furnish gives what installs the packages of a guest that is built.
func (t *tool) furnish(f buildFlags, method string, n guest.Name) (func(context.Context) error, error) {
	r := host.Recipe{Dist: f.rpm.dist, Yum: method == "yum", Packages: f.packages, Force: f.rpm.force, NoDeps: f.rpm.nodeps}
	if !r.Yum {
		var err error
		if r.Packages, err = f.rpm.files(); err != nil {
			return nil, err
		}
	}
	c := t.plain()
	c.Stdout = t.err
	return func(ctx context.Context) error {
		return host.Furnish(ctx, t.host, n, r, c, func(err error) { t.warn(n, err.Error()) })
	}, nil
}

// files are the packages that the manifests list; none with --empty.
func (r *fromRPM) files() (files []string, err error) {
	if r.empty {
		return nil, nil
	}
	for _, m := range r.manifests {
		some, err := host.Manifest(m, r.base)
		if err != nil {
			return nil, usagef("manifest %v", err)
		}
		files = append(files, some...)
	}
	if len(files) == 0 {
		return nil, usageHint("`vserver NAME build -m rpm -- --empty` makes a guest with an empty database of packages", "method rpm wants a manifest, a file with the paths of packages")
	}
	return files, nil
}

// bare is the root that packages are installed in, if it is known which.
func (t *tool) bare(r *fromRPM, method string) (build.Source, error) {
	if method == "yum" && host.RecipeDir(t.host, r.dist, "yum.repos.d") == "" {
		return build.Source{}, usageHint("the distribution's own are in its /etc/yum.repos.d", "method yum wants -d DIST behind --, and %s",
			filepath.Join(t.host.Dirs.Config, ".distributions/DIST/yum.repos.d"))
	}
	return build.Bare(), nil
}
