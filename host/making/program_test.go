package making

import (
	"os"
	"path/filepath"
	"testing"

	"vserver/build"
	"vserver/guest"
	"vserver/image"
)

// What is asked for goes before what an image wants, and what makes no sense is left out.
func TestProgramNotTaken(t *testing.T) {
	tree := t.TempDir()
	app := image.Config{Cmd: []string{"/app"}}
	for name, c := range map[string]struct {
		init guest.Init
		says image.Config
		file string
	}{
		"another command": {guest.Init{Style: guest.InitCommand, Command: []string{"/mine"}}, app, ""},
		"a style":         {guest.Init{Style: guest.InitSysv}, app, ""},
		"odd environment": {guest.Init{}, image.Config{Cmd: []string{"/app"}, Env: []string{"A\nB=c"}}, ""},
		"nothing":         {guest.Init{}, image.Config{Env: []string{"A=b"}}, ""},
		"an init":         {guest.Init{}, app, "sbin/init"},
	} {
		if c.file != "" {
			if err := os.MkdirAll(filepath.Join(tree, "sbin"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/nowhere", filepath.Join(tree, c.file)); err != nil {
				t.Fatal(err)
			}
		}
		b := &builder{spec: &guest.Spec{Init: c.init}}
		b.adopt(tree, programOf(build.Source{Program: func() image.Config { return c.says }}))
		if got := b.spec.Init; got.Style != c.init.Style || len(got.Command) != len(c.init.Command) || len(got.Environment) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		os.RemoveAll(filepath.Join(tree, "sbin"))
	}
}
