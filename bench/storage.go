package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lines of shell that a row runs; $1 is the program.
func (b *bench) shell(line string) []string { return []string{"/bin/sh", "-c", line, "sh", b.tool} }

// storage times what is done with a guest of 200 MB as a whole: it is the Debian tree as
// an image, with little of the guest's own.
func (b *bench) storage() (err error) {
	if err := b.must("image", "build", "bench@1", "--method", "rsync", "--from", b.cache); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("image", "delete", "bench@1")) }()
	if err := b.upon("source", "bench@1"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("delete", "source", "twin", "--force")) }()
	if err := errors.Join(b.must("start", "source"), b.must("exec", "source", "/bin/sh", "-c", "echo own >/etc/motd"),
		b.must("stop", "source"), b.must("clone", "source", "twin"), b.must("source", "snapshot", "create", "first")); err != nil {
		return err
	}
	kib, err := diskUse(filepath.Join(b.home(), "var/lib/vservers/guests/twin"))
	if err != nil {
		return err
	}
	fmt.Printf("  a clone takes %d KiB\n", kib)
	leave, err := b.warm()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	rows := []row{{"vserver --version", command(b.vserver("--version")...)}}
	// An option that changes nothing has a command begin without the warm process.
	for _, way := range []struct{ said, option string }{{"", ""}, {", not warm", "--json=false"}} {
		with := func(words ...string) []string {
			if way.option != "" {
				words = append(words, way.option)
			}
			return b.vserver(words...)
		}
		rows = append(rows,
			row{"vserver clone" + way.said, b.after(with("clone", "source", "cloned"), b.tool, "delete", "cloned", "--force")},
			row{"vserver snapshot create" + way.said, b.after(with("source", "snapshot", "create", "next"), b.tool, "source", "snapshot", "delete", "next")},
			row{"vserver rollback" + way.said, command(with("rollback", "source", "first")...)},
			row{"build upon an image, start" + way.said, b.after(b.shell(`$1 build made --image bench@1 --init command --command /bin/sleep --command inf --network none `+way.option+
				` && $1 start made `+way.option), b.tool, "delete", "made", "--force")},
			row{"create upon an image" + way.said, b.after(with("create", "made", "--image", "bench@1", "--init", "command", "--command", "/bin/sleep", "--command", "inf", "--network", "none"),
				b.tool, "delete", "made", "--force")})
	}
	interleave(os.Stdout, b.rounds, rows)
	return nil
}

// upon makes a guest upon an image, that sleeps.
func (b *bench) upon(name, image string) error {
	return b.must("build", name, "--image", image, "--network", "none", "--init", "command", "--command", "/bin/sleep", "--command", "infinity")
}

// diskUse says how much of the disk a tree takes, in KiB.
func diskUse(dirs ...string) (int, error) {
	out, err := exec.Command("du", append([]string{"-sck"}, dirs...)...).Output()
	if err != nil {
		return 0, fmt.Errorf("du: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strconv.Atoi(strings.Fields(lines[len(lines)-1])[0])
}

// unified makes ten installs one, and tells what is left of them on the disk; then it
// times the unification of one guest's own files beside hard links to all of them and a
// hash of all their bytes.
func (b *bench) unified() (err error) {
	const installs = 10
	var trees []string
	for i := range installs {
		image := fmt.Sprintf("deb%d@1", i)
		if err := b.must("image", "build", image, "--method", "rsync", "--from", b.cache); err != nil {
			return err
		}
		trees = append(trees, filepath.Join(b.home(), "var/lib/vservers/pool/images", image, "tree"))
	}
	defer func() { err = errors.Join(err, b.must("image", "delete", "deb0@1")) }()
	one, err := diskUse(trees[0])
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.must("pool", "unify"); err != nil {
		return err
	}
	took := time.Since(began)
	all, err := diskUse(trees...)
	if err != nil {
		return err
	}
	fmt.Printf("  %d installs take %.2f of one, unified in %.1f s\n", installs, float64(all)/float64(one), took.Seconds())
	if err := b.brought(installs, trees[0], one); err != nil {
		return err
	}
	return b.hashify("deb0@1")
}

// brought brings a guest upon each of the installs to the first of them, and tells what that
// leaves on the disk.
func (b *bench) brought(installs int, tree string, one int) (err error) {
	data := filepath.Join(b.home(), "var/lib/vservers")
	left := []string{tree}
	for i := 1; i < installs; i++ {
		name, image := fmt.Sprintf("brought%d", i), fmt.Sprintf("deb%d@1", i)
		if err := b.upon(name, image); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.must("delete", name, "--force")) }()
		if err := b.must("rebase", "--keep", name, "deb0@1"); err != nil {
			return err
		}
		if err := b.must("image", "delete", image); err != nil {
			return err
		}
		left = append(left, filepath.Join(data, "guests", name))
	}
	all, err := diskUse(left...)
	if err == nil {
		fmt.Printf("  %d installs take %.3f of one, their guests brought to one image\n", installs, float64(all)/float64(one))
	}
	return err
}

// hashify times the unification of a guest's private copy of all that is in its image.
func (b *bench) hashify(image string) (err error) {
	if err := b.upon("full", image); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("delete", "full", "--force")) }()
	// Times of its own make the files others than the image's.
	fill := `$1 start full && $1 exec full /bin/sh -c 'mkdir /copy; tar -C / -cf - usr | tar -C /copy -mxf -' && $1 stop full && sync`
	line := b.shell(fill)
	if err := run(line[0], line[1:]...); err != nil {
		return err
	}
	upper := filepath.Join(b.home(), "var/lib/vservers/guests/full/upper/copy")
	links := filepath.Join(b.work, "links")
	reference := append(b.shell(`cp -al "$2" "$3" && find "$2" -type f -print0 | xargs -0 -n 100 -P 2 sha256sum >/dev/null`), upper, links)
	undo := b.shell(`$1 full unhashify && $1 pool gc`)
	interleave(os.Stdout, max(b.rounds/10, 1), []row{
		{"cp -al, sha256sum on two processors", b.after(reference, "rm", "-rf", links)},
		{"vserver hashify", b.after(b.vserver("full", "hashify"), undo[0], undo[1:]...)},
	})
	if err := b.must("full", "hashify"); err != nil {
		return err
	}
	interleave(os.Stdout, b.rounds, []row{{"vserver hashify, nothing changed", command(b.vserver("full", "hashify")...)}})
	return nil
}

// together tells what guests upon one image take of the disk, and of memory when all of
// them read the same programs.
func (b *bench) together() (err error) {
	const guests = 20
	if err := b.must("image", "build", "bench@1", "--method", "rsync", "--from", b.cache); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("image", "delete", "bench@1")) }()
	data := filepath.Join(b.home(), "var/lib/vservers")
	var names, dirs []string
	for i := range guests {
		name := fmt.Sprintf("same%d", i)
		if err := b.upon(name, "bench@1"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.must("delete", name, "--force")) }()
		names, dirs = append(names, name), append(dirs, filepath.Join(data, "guests", name))
	}
	if err := b.must(append([]string{"start"}, names...)...); err != nil {
		return err
	}
	image, err1 := diskUse(filepath.Join(data, "pool/images/bench@1"))
	own, err2 := diskUse(dirs...)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	fmt.Printf("  %d guests that run take %.3f of one install on the disk\n", guests, float64(image+own)/float64(image))
	// Clean pages go, so that what is read comes in anew.
	if err := errors.Join(run("sync"), os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)); err != nil {
		return err
	}
	first, err := b.readUsr(names[:1])
	if err != nil {
		return err
	}
	more, err := b.readUsr(names[1:])
	if err != nil {
		return err
	}
	fmt.Printf("  %d guests that read /usr have the page cache filled with %.3f of what one has (%d MiB)\n", guests, float64(first+more)/float64(first), first>>20)
	return nil
}

// readUsr has guests read all files of their /usr, and says how many bytes the disk gave
// for that: those that the page cache had not (read_bytes of proc_pid_io(5)).
func (b *bench) readUsr(names []string) (fetched int64, err error) {
	for _, n := range names {
		line := b.vserver("exec", n, "/bin/sh", "-c", "find /usr -type f -exec cat {} + >/dev/null; cat /proc/$$/io")
		out, err := exec.Command(line[0], line[1:]...).Output()
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(out), "\nread_bytes: ")
		word, _, _ := strings.Cut(rest, "\n")
		bytes, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return 0, err
		}
		fetched += bytes
	}
	return fetched, nil
}

// hundreds times what looks at all guests of a host.
func (b *bench) hundreds() (err error) {
	const guests = 200
	names, err := b.idle(guests)
	if err != nil {
		return err
	}
	fmt.Printf("  %d guests of one image\n", len(names))
	interleave(os.Stdout, b.rounds, []row{
		{"vserver list", command(b.vserver("list")...)},
		{"vserver vdu", command(b.vserver("vdu")...)},
		{"vserver pool gc", command(b.vserver("pool", "gc")...)},
	})
	return nil
}
