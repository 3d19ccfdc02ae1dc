package host

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vserver/build"
	"vserver/guest"
	"vserver/image"
	"vserver/internal/need"
)

// An image without an init runs what its maker wants, for the guest that it is made for
// and for later ones.
func TestProgramOfImage(t *testing.T) {
	w := newWorld(t)
	fills := 0
	src := build.Source{
		Method: "template", Text: "a test",
		Name: func(context.Context) (string, error) { return "app-1", nil },
		Fill: func(_ context.Context, dir string, _ build.Progress) error {
			fills++
			need.Busybox(t, dir)
			return os.Remove(filepath.Join(dir, "sbin/init"))
		},
		Program: func() image.Config {
			return image.Config{Entrypoint: []string{"/bin/sh", "-c", `echo "$A $B $0 $PWD"; exit 7`}, Cmd: []string{"zero"},
				Env: []string{"A=a b", "B=b", "B_=x"}, WorkingDir: "/var/log", StopSignal: "SIGQUIT"}
		},
	}
	for _, n := range []guest.Name{"web1", "web2"} {
		var said strings.Builder
		spec := guest.Spec{Init: guest.Init{Environment: map[string]string{"B": "mine"}}, Network: guest.Network{Mode: guest.NetNone}}
		if err := w.Build(t.Context(), n, &spec, src, BuildOptions{Progress: &said}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said.String(), "the image has no init") {
			t.Errorf("said %q", said.String())
		}
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		exit, err := w.Start(t.Context(), n, StartOptions{Wait: true, Stdout: write, Stderr: write})
		write.Close()
		line := make([]byte, 100)
		got, _ := read.Read(line)
		read.Close()
		if err != nil || exit.Code != 7 || string(line[:got]) != "a b mine zero /var/log\n" {
			t.Errorf("%s: %+v, %v, %q", n, exit, err, line[:got])
		}
		if full, err := w.Load(n); err != nil || full.Init.StopSignal.String() != "SIGQUIT" {
			t.Errorf("%+v, %v", full, err)
		}
	}
	if fills != 1 {
		t.Errorf("made %d times", fills)
	}
}

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
