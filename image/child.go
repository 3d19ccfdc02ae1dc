package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"vserver/fault"
)

// Tool is the program vserver-image.
type Tool struct {
	// Path is where it is; "" is beside our own program.
	Path string
	// Start starts it when it reads what strangers made; nil is as any other.
	Start func(*exec.Cmd) error
}

// imageTool is the path of the program vserver-image: beside our own, or where the
// package puts it.
func imageTool() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(self)
	for _, p := range []string{filepath.Join(dir, "vserver-image"), filepath.Join(dir, "../lib/vserver/vserver-image")} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", fault.Hint(fmt.Errorf("vserver-image: not beside %s nor in ../lib/vserver", self),
		"install it with `make install`, or the package vserver")
}

// waitDelay is how long a program that was killed may hold its output open.
const waitDelay = 5 * time.Second

// user is who a program runs as.
type user int

// nobody reads what strangers made; caller is us; apart is us in namespaces of its own, who
// gives up more by itself (package imagetool).
const (
	nobody user = 65534
	caller user = -1
	apart  user = -2
)

// away are the namespaces of who is apart.
const away = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS

// child is a program that runs as nobody, its output to be read.
type child struct {
	cmd    *exec.Cmd
	out    io.ReadCloser
	errors bytes.Buffer
	name   string
}

// start runs tool with args, in being its input. Nobody gets nothing of our environment
// but how to reach the network.
func start(ctx context.Context, tool Tool, in io.Reader, as user, args ...string) (*child, error) {
	return startWith(ctx, tool, in, as, nil, args...)
}

// startWith runs it with some files more, from descriptor 4 on.
func startWith(ctx context.Context, tool Tool, in io.Reader, as user, files []*os.File, args ...string) (*child, error) {
	if tool.Path == "" {
		var err error
		if tool.Path, err = imageTool(); err != nil {
			return nil, err
		}
	}
	// By descriptor: nobody need not be able to reach the place where the program is.
	f, err := os.Open(tool.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &child{name: "vserver-image " + strings.Join(args, " ")}
	c.cmd = exec.CommandContext(ctx, "/proc/self/fd/3", args...)
	c.cmd.Args[0] = "vserver-image"
	c.cmd.ExtraFiles = append([]*os.File{f}, files...)
	c.cmd.Dir = "/"
	switch as {
	case nobody:
		c.cmd.Env = proxies()
	case apart:
		c.cmd.Env = []string{}
	}
	c.cmd.Stdin, c.cmd.Stderr = in, &limited{to: &c.errors, left: 4096}
	c.cmd.WaitDelay = waitDelay
	switch {
	case os.Geteuid() != 0:
	case as == apart:
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: away}
	case as != caller:
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(as), Gid: uint32(as)}}
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if tool.Start == nil || as == caller {
		return c, c.cmd.Start()
	}
	return c, tool.Start(c.cmd)
}

// proxies are the variables by which programs are told how to reach the network.
func proxies() []string {
	env := []string{} // nil would be all that is ours
	for _, v := range []string{"http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		for _, name := range []string{v, strings.ToUpper(v)} {
			if s, ok := os.LookupEnv(name); ok {
				env = append(env, name+"="+s)
			}
		}
	}
	return env
}

func (c *child) Read(b []byte) (int, error) { return c.out.Read(b) }

// end waits for the program. When err, what its reader says, is not nil, the rest of
// the output is of no interest and the program is killed.
func (c *child) end(err error) error {
	if err != nil {
		c.cmd.Process.Kill()
	}
	c.out.Close()
	werr := c.cmd.Wait()
	said := strings.TrimSpace(strings.ToValidUTF8(c.errors.String(), "?"))
	var exit *exec.ExitError
	switch {
	case werr == nil || err != nil && said == "":
		return err
	case errors.As(werr, &exit) && said != "":
		err := fmt.Errorf("%s: %s", c.name, lastLine(said))
		if exit.ExitCode() == refused {
			err = fault.Hint(err, "`docker login` and `podman login` keep logins in ~/.docker/config.json and containers/auth.json; these are read")
		}
		return err
	}
	return errors.Join(err, fmt.Errorf("%s: %w", c.name, werr))
}

// refused is the exit code of vserver-image for a registry that wants another login, or any.
const refused = 77

func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }

// limited keeps the first bytes of what is written to it.
type limited struct {
	to   *bytes.Buffer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	l.to.Write(b[:n])
	return len(b), nil
}
