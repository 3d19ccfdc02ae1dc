package real_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

// TestGuide runs what doc/guide.md tells its readers to type, a block at a time. The
// first block makes the image: here it is made of what the machine keeps, and has its
// packages from where they are kept.
func TestGuide(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	need.Mirror(t)
	w.keepImages()
	w.ownNet()
	text, err := os.ReadFile("../../doc/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	const image = "bookworm@1"
	if len(blocks) < 5 || !strings.HasPrefix(blocks[0][1], "vserver image build "+image+" ") {
		t.Fatalf("the guide does not begin with an image: %q", blocks)
	}
	w.guideImage(t, image)
	dir := t.TempDir()
	for _, b := range blocks[1:] {
		w.typed(t, dir, b[1])
	}
	if left := w.do(t, "list", "--json"); strings.TrimSpace(left) != "[]" {
		t.Errorf("left: %s", left)
	}
}

// guideImage makes an image of a Debian that the machine keeps.
func (w *world) guideImage(t *testing.T, image string) {
	t.Helper()
	here := *w
	here.net = -1
	here.do(t, "build", "base", "-d", "bookworm")
	proxy := filepath.Join(t.TempDir(), "00proxy")
	if err := os.WriteFile(proxy, []byte("Acquire::http::Proxy \""+w.proxy()+"\";\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.do(t, "push", "base", proxy, "/etc/apt/apt.conf.d/00proxy")
	w.run("image", "delete", image) // of a run that was killed
	w.do(t, "image", "import", image, "--guest", "base")
	t.Cleanup(func() { w.run("image", "delete", image) })
	w.do(t, "delete", "--yes", "base")
}

// typed runs lines as somebody types them in a directory.
func (w *world) typed(t *testing.T, dir, lines string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, need.Command(t, "bash"), "-e", "-c", lines)
	c.Env = append(w.command(ctx).Env, "PATH="+filepath.Dir(w.bin)+":"+os.Getenv("PATH"))
	c.Dir = dir
	var out bytes.Buffer
	c.Stdout, c.Stderr, c.WaitDelay = &out, &out, 5*time.Second
	err := w.begin(c)
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		t.Fatalf("%s\n%v\n%s", lines, err, out.Bytes())
	}
}
