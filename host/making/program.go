package making

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"vserver/build"
	"vserver/guest"
	"vserver/host/apart"
	"vserver/host/life"
	"vserver/pool"
)

// programOf is what the maker of a source's files wants run in them, once they are made.
func programOf(src build.Source) *pool.Program {
	if src.Program == nil {
		return nil
	}
	c := src.Program()
	return &pool.Program{
		Command: slices.Concat(c.Entrypoint, c.Cmd), Environment: c.Env,
		Dir: c.WorkingDir, User: c.User, StopSignal: c.StopSignal,
	}
}

// MetaOf is what is known of an image before it is made from a source.
func MetaOf(ctx context.Context, src build.Source) (pool.Meta, error) {
	m := pool.Meta{Method: src.Method, Source: src.Text, Cache: src.Cache}
	if src.Program != nil {
		m.Program = new(pool.Program)
	}
	if src.Origin == nil {
		return m, nil
	}
	origin, err := src.Origin(ctx)
	m.Origin = origin
	return m, err
}

// FillImage makes the files of an image in dir, without what would make two guests one,
// and puts what is to be run in them where MetaOf made room for it. What reads strangers'
// archives is held by the limits l.
func FillImage(ctx context.Context, d guest.Dirs, src build.Source, dir string, m pool.Meta, l guest.Limits, say build.Progress) error {
	b := &builder{dirs: d, spec: &guest.Spec{Limits: l}, src: src, say: say}
	err := b.make(ctx, dir)
	if says := programOf(src); says != nil && m.Program != nil {
		*m.Program = *says
	}
	return err
}

// within fills dir, with what reads strangers' archives in a control group of its own.
func (b *builder) within(ctx context.Context, dir string) error {
	if b.src.Within == nil {
		return b.src.Fill(ctx, dir, b.say)
	}
	return Bounded(b.dirs, b.spec.Limits, func(g *apart.Group) error {
		b.src.Within(g.Start)
		return b.src.Fill(ctx, dir, b.say)
	})
}

// Bounded has do start what reads strangers' archives in a control group with these limits, which is
// gone afterwards.
func Bounded(d guest.Dirs, l guest.Limits, do func(*apart.Group) error) error {
	g, err := apart.Make(d, l)
	if err != nil {
		return err
	}
	if err = g.Explain(do(g)); g == nil {
		return err
	}
	return errors.Join(err, g.Leave(), life.Leave(d))
}

// adopt makes what a tree's maker wants run in it the guest's command, when the tree has
// no init and nothing else was asked for.
func (b *builder) adopt(tree string, p *pool.Program) {
	if p == nil || len(p.Command) == 0 || b.spec.Init.Style != "" || len(b.spec.Init.Command) > 0 || has(tree, "sbin/init") {
		return
	}
	before := b.spec.Init
	init := &b.spec.Init
	init.Style, init.Command = guest.InitCommand, p.Command
	if init.User == "" {
		init.User = p.User
	}
	if p.Dir != "" && p.Dir != "/" && has(tree, "bin/sh") {
		init.Command = slices.Concat([]string{"/bin/sh", "-c", `cd "$0" && exec "$@"`, p.Dir}, p.Command)
	}
	env := make(map[string]string)
	for _, kv := range p.Environment {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	for k, v := range init.Environment { // as the user asked
		env[k] = v
	}
	init.Environment = env
	if init.StopSignal == 0 && len(init.StopCommand) == 0 && p.StopSignal != "" {
		if err := init.StopSignal.UnmarshalText([]byte(p.StopSignal)); err != nil {
			init.StopSignal = 0
		}
	}
	if found := b.spec.Validate(); len(found) > 0 { // strangers wrote it
		b.spec.Init = before
		b.say.Say("what the image runs is left out: %v", found[0])
		return
	}
	b.say.Say("the image has no init: its own command %q is run", strings.Join(p.Command, " "))
}

// has tells whether a tree of strangers' has a file, or a link of that name.
func has(tree, name string) bool {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return false
	}
	defer root.Close()
	info, err := root.Lstat(name)
	return err == nil && info.Mode()&fs.ModeDir == 0
}
