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
