// Package hook runs the programs of the host that a guest's spec names for the points of
// its life, and those for all guests, as Linux-VServer's tools did.
package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/step"
)

// longest bounds a hook: one that hangs would hang the guest's lock with it.
const longest = 5 * time.Minute

// Runner runs the hooks of a guest.
type Runner struct {
	Dirs   guest.Dirs
	Name   guest.Name
	Spec   *guest.Spec // with its defaults
	Output io.Writer   // what they print, and what is said of them
	None   bool        // none of them is run
}

// Steps is the step of a point of the guest's life, and none when nothing runs there. A
// hook of a stop that fails is told, and no reason not to go on.
func (r Runner) Steps(point string) []step.Step {
	if r.None || len(*r.Spec.Hooks.At(point)) == 0 && len(r.presets(point)) == 0 {
		return nil
	}
	return []step.Step{{Name: "run " + point + " hooks", Do: func(ctx context.Context) error {
		err := r.Run(ctx, point)
		if strings.HasSuffix(point, "-stop") {
			r.complain(err)
			err = nil
		}
		return err
	}}}
}

func (r Runner) complain(err error) {
	if err != nil {
		fmt.Fprintf(r.Output, "%s: %v\n", r.Name, err)
	}
}

// Run runs the programs of a point: the guest's own, and those for all guests when it has
// none, or when one that is read by bash sets DONT_SKIP_DEFAULTS.
func (r Runner) Run(ctx context.Context, point string) error {
	if r.None {
		return nil
	}
	list, presets := *r.Spec.Hooks.At(point), r.presets(point)
	if !slices.ContainsFunc(list, func(p string) bool { return !guest.IsCommand(p) }) {
		list, presets = slices.Concat(list, presets), nil
	}
	for i := 0; i < len(list); i++ {
		more, err := r.run(ctx, point, list[i])
		if err != nil {
			return err
		}
		if more {
			list, presets = slices.Concat(list, presets), nil
		}
	}
	return nil
}

// presets are the programs for all guests: .defaults/scripts/POINT and those in
// .defaults/scripts/POINT.d.
func (r Runner) presets(point string) (out []string) {
	at := filepath.Join(r.Dirs.Config, ".defaults/scripts", point)
	if info, err := os.Stat(at); err == nil && info.Mode().IsRegular() {
		out = append(out, at)
	}
	entries, _ := os.ReadDir(at + ".d") // there is none
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "~") && !e.IsDir() {
			out = append(out, filepath.Join(at+".d", e.Name()))
		}
	}
	return out
}

// bash reads a script that cannot be executed, as Linux-VServer's tools did into
// themselves, and says by file 3 whether that wants the defaults for all guests as well.
// A command that fails ends one of a start.
const bash = `trap '[ -z "${DONT_SKIP_DEFAULTS+x}" ] || echo 1 >&3' EXIT; case $2 in *start|initialize) set -e;; esac; f=$1; shift; . "$f"`

// run runs one program of the host with the point's name and the guest's name as
// arguments. more tells that it wants the defaults for all guests to run.
func (r Runner) run(ctx context.Context, point, program string) (more bool, err error) {
	info, err := os.Stat(program)
	if err == nil && info.IsDir() {
		err = syscall.EISDIR
	}
	if err == nil {
		err = foreign(info)
	}
	if err != nil {
		return false, fmt.Errorf("hook %s %s: %w", point, program, err)
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if guest.IsCommand(program) {
		return false, r.words(ctx, point, program)
	}
	if info.Mode()&0o111 == 0 {
		r.complain(fmt.Errorf("hook %s %s: is not executable and read by a bash of its own: variables that it sets are lost (chmod +x)", point, program))
		return r.source(ctx, point, program)
	}
	err = r.command(ctx, point, program, point, string(r.Name)).Run()
	if errors.Is(err, syscall.ENOEXEC) { // without #!, as shells take it
		err = r.command(ctx, point, "/bin/sh", program, point, string(r.Name)).Run()
	}
	if err != nil {
		err = fmt.Errorf("hook %s %s: %w", point, program, err)
	}
	return false, err
}

// foreign refuses a program that others can write: root is about to run it.
func foreign(info fs.FileInfo) error {
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	if info.Mode()&0o022 != 0 || owner != 0 && owner != os.Geteuid() {
		return fmt.Errorf("others than root may write it: %w", fs.ErrPermission)
	}
	return nil
}

// words runs the command that a file of Linux-VServer's says, a word in each line.
func (r Runner) words(ctx context.Context, point, path string) error {
	text, err := os.ReadFile(path)
	argv := slices.DeleteFunc(strings.Split(string(text), "\n"), func(w string) bool { return w == "" || w[0] == '#' })
	if err == nil && len(argv) > 0 {
		err = r.command(ctx, point, argv[0], argv[1:]...).Run()
	}
	if err != nil {
		err = fmt.Errorf("hook %s %s: %w", point, path, err)
	}
	return err
}

// source has bash read a script.
func (r Runner) source(ctx context.Context, point, program string) (more bool, err error) {
	out, in, err := os.Pipe()
	if err != nil {
		return false, err
	}
	defer out.Close()
	c := r.command(ctx, point, "bash", "-c", bash, "vserver", program, point, string(r.Name))
	c.ExtraFiles = []*os.File{in}
	err = c.Run()
	in.Close()
	if err != nil {
		return false, fmt.Errorf("hook %s %s: %w", point, program, err)
	}
	out.SetReadDeadline(time.Now().Add(time.Second)) // what the script left running may have it open
	said, _ := io.ReadAll(io.LimitReader(out, 1))
	return len(said) > 0, nil
}

// command is a program in the place and with the variables that Linux-VServer gave it.
func (r Runner) command(ctx context.Context, point, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = r.Output, r.Output
	c.WaitDelay = time.Second // for what the hook left running with its output open
	config := filepath.Join(r.Dirs.Config, string(r.Name))
	c.Env = append(os.Environ(), "VSERVER_NAME="+string(r.Name), "VSERVER_DIR="+config, fmt.Sprintf("S_CONTEXT=%d", r.Spec.XID))
	if strings.HasSuffix(point, "-stop") && r.Spec.Init.Style == guest.InitSysv {
		c.Env = append(c.Env, "PREVLEVEL="+r.Spec.Init.Runlevel, "RUNLEVEL="+r.Spec.Init.RunlevelStop)
	}
	c.Dir = "/"
	switch there, err := file.Exists(config); {
	case point != "initialize" && point != "prepre-start":
		if r.Spec.Root.Kind == guest.RootDir {
			c.Dir = r.Spec.Root.Tree(r.Dirs.Guest(r.Name))
		}
	case err == nil && there:
		c.Dir = config
	default:
		c.Dir = r.Dirs.Config
	}
	return c
}
