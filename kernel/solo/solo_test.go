package solo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// TestBegin sees that the program has one processor until it asks for all, that its
// words and its environment are what they were, and that somebody else's setting counts.
func TestBegin(t *testing.T) {
	need.Go(t)
	path := filepath.Join(t.TempDir(), "tell")
	c := exec.Command("go", "build", "-ldflags=-E vserver/kernel/solo.begin", "-o", path, "./testdata/tell")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := runtime.NumCPU()
	for _, c := range []struct {
		args, env []string
		want      string
	}{
		{nil, nil, fmt.Sprintf("1 %d %d\n\n\n", all, all)},
		{[]string{"a", "b c"}, []string{"A=1", "B=2"}, fmt.Sprintf("1 %d %d\na b c\nA=1 B=2\n", all, all)},
		{[]string{"a"}, []string{"A=1"}, fmt.Sprintf("1 %d %d\na\nA=1\n", all, all)},
		{nil, []string{"GOMAXPROCS=3", "A=1"}, fmt.Sprintf("3 3 %d\n\nGOMAXPROCS=3 A=1\n", all)},
		{nil, []string{"GOMAXPROCS=1"}, fmt.Sprintf("1 1 %d\n\nGOMAXPROCS=1\n", all)},
	} {
		var said strings.Builder
		cmd := &exec.Cmd{Path: path, Args: append([]string{path}, c.args...), Env: append([]string{}, c.env...), Stdout: &said, Stderr: os.Stderr}
		if err := cmd.Run(); err != nil || said.String() != c.want {
			t.Errorf("%q with %q: %q, %v; want %q", c.args, c.env, said.String(), err, c.want)
		}
	}
	out, _ := exec.Command("sh", "-c", path+" >&-").CombinedOutput()
	if want := "write /dev/stdout: bad file descriptor"; string(out) != want {
		t.Errorf("without a standard output: %q, want %q", out, want)
	}
}
