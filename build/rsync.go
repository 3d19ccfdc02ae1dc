package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/layer"
)

// Rsync copies a root: a directory of this host, or a running server as
// [user@]host:/directory over ssh. One file system is copied; owners, ACLs, attributes,
// hard links come along, device nodes do not. Accounts, passwords and ssh host keys stay
// the server's own, since it is meant to move.
func Rsync(from string) Source {
	return Source{
		Method: "rsync", Text: from, Moves: true,
		Name: func(context.Context) (string, error) {
			_, err := rsyncFrom(from)
			return "", err
		},
		Fill: func(ctx context.Context, dir string, p Progress) error {
			return rsync(ctx, from, dir, p)
		},
	}
}

// rsyncFrom gives the source as rsync's argument. It becomes a word of a command line,
// and its host part one of ssh's: neither may be taken for an option.
func rsyncFrom(from string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("source %q: %s: %w", from, why, guest.ErrInvalid)
	}
	if strings.ContainsAny(from, "\x00\n") {
		return bad("holds a control character")
	}
	if strings.HasPrefix(from, "/") {
		if filepath.Clean(from) == "/" {
			return "/", nil
		}
		return filepath.Clean(from) + "/", nil
	}
	host, dir, ok := strings.Cut(from, ":")
	if !ok {
		return bad("want an absolute path, or [user@]host:/directory")
	}
	if ok, _ := regexp.MatchString(`^([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*$`, host); !ok {
		return bad("want [user@]host before the colon")
	}
	if !strings.HasPrefix(dir, "/") || strings.HasPrefix(dir, "//") {
		return bad("want an absolute path behind the colon")
	}
	if dir = filepath.Clean(dir); dir != "/" {
		dir += "/"
	}
	return host + ":" + dir, nil
}

func rsync(ctx context.Context, from, dir string, p Progress) error {
	src, err := rsyncFrom(from)
	if err != nil {
		return err
	}
	p.Say("copy %s", from)
	var last time.Time
	t := tool{
		name: "rsync", pkg: "rsync",
		args: []string{
			"-aHAXS", "--numeric-ids", "--one-file-system", "--no-devices", "--secluded-args", "--filter=-xr trusted.*",
			"--info=progress2,name0", "--exclude=/proc/*", "--exclude=/sys/*", "--exclude=/dev/*", "--exclude=/run/*",
			"--exclude=/tmp/*", "--exclude=/lost+found", "--", src, dir + "/",
		},
		env: []string{"SSH_AUTH_SOCK=" + os.Getenv("SSH_AUTH_SOCK")},
		line: func(line string) {
			if time.Since(last) > time.Second/2 && strings.Contains(line, "%") {
				last = time.Now()
				p.Say("copy: %s", strings.Join(strings.Fields(line), " "))
			}
		},
	}
	if err := t.run(ctx); err != nil {
		return err
	}
	return settleIn(ctx, dir)
}

// settleIn makes a guest's root of a copied server's: ids that a guest does not have
// become nobody's, and fstab is set aside, since the disks are not the guest's.
func settleIn(ctx context.Context, dir string) error {
	d, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := (layer.Shift{}).Run(ctx, d); err != nil {
		return err
	}
	if err := mkdirs(d, mountPoints); err != nil {
		return err
	}
	etc, err := d.Dir("etc")
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer etc.Close()
	if _, err := etc.Stat("fstab"); err != nil {
		return nil
	}
	if err := etc.Rename("fstab", etc, "fstab.before-vserver"); err != nil {
		return err
	}
	return write(etc, "fstab", "# A guest's file systems are mounted by the host; see fstab.before-vserver.\n", 0o644, 0)
}
