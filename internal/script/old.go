package script

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"vserver/internal/need"
)

// old makes guests of a host of 2010, a directory of Linux-VServer's tools and a tree of
// files each: old NAME...
func old(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		for _, n := range args {
			ts.Check(oldGuest(t, ts, n))
		}
	}
}

func oldGuest(t *testing.T, ts *testscript.TestScript, n string) error {
	work, specs := ts.Getenv("WORK"), ts.Getenv("specs")
	trees := filepath.Join(work, "vservers")
	need.Busybox(t, filepath.Join(trees, n))
	if err := os.Chmod(trees, 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(specs, n), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(trees, n), filepath.Join(specs, n, "vdir")); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(work, "run/vservers", n), filepath.Join(specs, n, "run")); err != nil {
		return err
	}
	tree, err := os.OpenRoot(filepath.Join(trees, n))
	if err != nil {
		return err
	}
	defer tree.Close()
	config, err := os.OpenRoot(specs)
	if err != nil {
		return err
	}
	defer config.Close()
	for _, f := range oldFiles(n) {
		root, at := config, filepath.Join(n, f.at)
		if strings.HasPrefix(f.at, ".defaults/") {
			at = f.at
		} else if in, ok := strings.CutPrefix(f.at, "/"); ok {
			root, at = tree, in
		}
		if err := oldWrite(root, at, strings.ReplaceAll(f.text, "$WORK", work)); err != nil {
			return err
		}
	}
	return nil
}

// oldWrite makes a file. One that is there goes before: it may be a link, and lead out of
// the tree to the host's own.
func oldWrite(root *os.Root, at, text string) error {
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := root.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if err := root.Remove(at); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

type oldFile struct{ at, text string }

// oldFiles are those of one of the guests; a path that begins with '/' is in its tree.
func oldFiles(n string) []oldFile {
	const tells = "#!/bin/sh\necho $1 $2 $PWD $S_CONTEXT >&2\n"
	list := []oldFile{{"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"}, {"/etc/group", "root:x:0:\n"}, {"/root/.keep", ""}, {"/data/.keep", ""}}
	switch n {
	case "plain1":
		return append(list,
			oldFile{"context", "40001\n"}, oldFile{"contxt", "40002\n"}, oldFile{"uts/nodename", "plain1.example.org"},
			oldFile{"apps/init/style", "plain\n"}, oldFile{"/sbin/init", "#!/bin/sh\ntrap 'exit 0' TERM INT USR2\nuname -r >/root/kernel\nwhile :; do sleep 0.1; done\n"},
			oldFile{"apps/init/mark", "default\n"}, oldFile{"interfaces/dev", "lo\n"}, oldFile{"interfaces/prefix", "32\n"},
			oldFile{"interfaces/0/ip", "192.0.2.41\n"}, oldFile{"interfaces/0/name", "p1"},
			oldFile{"personality", "LINUX\nUNAME26\n"}, oldFile{"rlimits/rss", "65536\n"}, oldFile{"rlimits/nproc.hard", "200\n"}, oldFile{"flags", "virt_mem\nvirt_uptime\n"},
			oldFile{"bcapabilities", "CAP_NET_RAW\n!SYS_PTRACE\n"},
			oldFile{"fstab", "none /proc proc defaults 0 0\nnone /tmp tmpfs size=16m,mode=1777 0 0\nnas:/x /mnt nfs rw 0 0\n$WORK/srv /data none bind,ro 0 0\n"},
			oldFile{"scripts/initialize", "echo initialize $2 $PWD >&2\nDONT_SKIP_DEFAULTS=1\n"},
			oldFile{".defaults/scripts/initialize", "#!/bin/sh\necho default $1 >&2\n"},
			oldFile{"scripts/prepre-start", "#!/bin/sh\necho prepre $2 $PWD >&2\n"}, oldFile{"scripts/pre-start.d/10-a", tells},
			oldFile{"scripts/post-start", tells}, oldFile{"scripts/pre-stop", tells}, oldFile{"scripts/postpost-stop", tells})
	case "sysv1":
		return append(list,
			oldFile{"context", "40002\n"}, oldFile{"/var/run/daemon.pid", "12\n"}, oldFile{"apps/init/killseq", "15\n1\n9\n"},
			oldFile{"/etc/rc.d/rc", "#!/bin/sh\necho rc $1 $PREVLEVEL $RUNLEVEL >>/root/rc.log\necho services of level $1\ncase $1 in 3) sleep 1000 & ;; 6) kill -TERM -1;; esac\nexit 0\n"})
	case "cmd1":
		return append(list, oldFile{"apps/init/style", "\n"}, oldFile{"apps/init/sync", ""},
			oldFile{"apps/init/cmd.prepare", "/bin/sh\n-c\necho prepare $PWD >&2\n"},
			oldFile{"apps/init/cmd.start-sync", "# a comment\n/bin/sh\n-c\necho \"$0 $VSERVER_NAME\" >&2\nstart-sync is done"},
			oldFile{"apps/init/cmd.start", "/bin/sh\n-c\necho up >/root/begun; sleep 1000 &\n"}, oldFile{"apps/init/cmd.stop", "/bin/sh\n-c\nkill -TERM -1\n"})
	default: // another that needs plain1
		return append(list, oldFile{"context", "40004\n"}, oldFile{"apps/init/mark", "default\n"}, oldFile{"apps/init/depends", "plain1\n"},
			oldFile{"/etc/init.d/rc", "#!/bin/sh\ncase $1 in 3) sleep 1000 & ;; 6) kill -TERM -1;; esac\nexit 0\n"})
	}
}
