// Command nobody runs a test binary without any rights: go test -exec nobody ./...
//
// The binary lies in a directory that only its owner may enter, so it is run from
// one of its own that anybody may. The working directory is kept; the test can read
// what lies there even when the way there is barred.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

// id is the user and group of nobody, of Debian as of most.
const id = 65534

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: nobody PROGRAM [ARGUMENT...]")
		os.Exit(2)
	}
	code, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "nobody:", err)
	}
	os.Exit(code)
}

// run gives the exit code of the program, run as nobody.
func run(program string, args []string) (int, error) {
	dir, err := os.MkdirTemp("", "nobody.")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	here := filepath.Join(dir, filepath.Base(program))
	if err := bring(program, here); err != nil {
		return 1, err
	}
	c := exec.Command(here, args...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), "HOME=/nonexistent", "XDG_CACHE_HOME=", "XDG_RUNTIME_DIR=")
	c.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: id, Gid: id},
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := c.Start(); err != nil {
		return 1, err
	}
	pass := make(chan os.Signal, 1)
	signal.Notify(pass, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for s := range pass {
			c.Process.Signal(s)
		}
	}()
	err = c.Wait()
	var x *exec.ExitError
	if errors.As(err, &x) && x.Exited() {
		return x.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("%s: %w", program, err)
	}
	return 0, nil
}

// bring makes the program appear at a path, by a link where that goes.
func bring(program, path string) error {
	if os.Link(program, path) == nil {
		return nil
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o755)
}
