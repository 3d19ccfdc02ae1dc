package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vserver/internal/need"
)

// becomeVar makes the test binary the program under test.
const becomeVar = "VSERVER_TEST_BECOME"

func TestMain(m *testing.M) {
	if os.Getenv(becomeVar) != "" {
		os.Unsetenv(becomeVar)
		main()
	}
	need.Main(m)
}

// TestNobody runs a program from a directory that nobody may not enter, and has it
// read a file of the working directory, which lies there too.
func TestNobody(t *testing.T) {
	need.Root(t)
	id, err := os.ReadFile(need.Command(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"busybox": id, "data": []byte("read\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "data"), []byte("read\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", filepath.Join(dir, "busybox"), "sh", "-c",
		"busybox id -u; busybox id -G; busybox cat data; busybox cat "+filepath.Join(dir, "data")+"; exit 3")
	cmd.Dir = work
	cmd.Env = append(os.Environ(), becomeVar+"=1")
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	want := "65534\n65534\nread\n"
	if !strings.HasPrefix(string(out), want) || !strings.Contains(string(out), "Permission denied") {
		t.Errorf("got %q, want %q and a refusal", out, want)
	}
}
