package isolation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/host"
	"vserver/isolation/attack"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/kernel/pidfd"
)

// outcome is one of an attack that was judged here.
func (r *run) outcome(class string, row int, name, bad, good string) {
	o := attack.Outcome{Class: class, Row: row, Name: name, Verdict: attack.Refused, Errno: good}
	if bad != "" {
		o.Verdict, o.Said, o.Errno = attack.Succeeded, strings.TrimSpace(bad), ""
	}
	r.note(o)
}

// owner looks whose the set-user-ID program is that the guest made, and who on the host
// could execute it.
func (r *run) owner(context.Context) error {
	d, err := file.OpenDir(filepath.Join(r.h.Dirs.Guest(Victim), "root"))
	if err != nil {
		return err
	}
	defer d.Close()
	st, err := d.Stat("attack-suid")
	if err != nil {
		return err
	}
	const name = "a program with the rights of the host's root"
	closed := ""
	for _, dir := range []string{r.h.Dirs.Data, filepath.Dir(r.h.Dirs.Guest(Victim)), r.h.Dirs.Guest(Victim)} {
		if fi, err := os.Stat(dir); err == nil && fi.Mode().Perm()&0o077 == 0 {
			closed = dir
		}
	}
	switch {
	case closed == "":
		r.outcome("A", 16, name, "everybody on the host comes to it", "")
	case st.UID == 0 && r.ground.Private:
		r.outcome("A", 16, name, "its owner is 0", "")
	default:
		r.outcome("A", 16, name, "", fmt.Sprintf("owner %d, below %s", st.UID, closed))
	}
	return nil
}

// entries is how often somebody comes into the guest while it lies in wait.
const entries = 20

// entering comes into the guest again and again while that tries to look into who comes,
// before it has executed what it came for (CVE-2016-9962).
func (r *run) entering(ctx context.Context) error {
	return r.lurking(ctx, "watch", 1, "look into a program on its way into the guest", func() error {
		_, err := r.exec(ctx, Victim, nil, "nothing")
		return err
	})
}

// becoming comes in with a script of the guest's that has the host's program executed in
// its place, which the guest tries to get hold of.
func (r *run) becoming(ctx context.Context) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return r.lurking(ctx, "catch", 2, "write to the host's program that came in", func() error {
		_, err := r.h.Exec(ctx, Victim, host.Command{Args: []string{attack.Again}, Stdin: null, Stdout: null, Stderr: null})
		if errors.Is(err, syscall.EINVAL) {
			err = nil // the program in its place has no use for that
		}
		return err
	})
}

// lurking has the guest lie in wait for who comes in.
func (r *run) lurking(ctx context.Context, part string, row int, name string, come func() error) error {
	p, err := r.begun(ctx, part)
	if err != nil {
		return err
	}
	p.lines.Scan()
	for range entries {
		if err := come(); err != nil {
			p.finish()
			return err
		}
	}
	p.in.Close()
	bad := ""
	for p.lines.Scan() {
		if strings.HasPrefix(p.lines.Text(), "found") {
			bad = p.lines.Text()
		}
	}
	if _, err := p.finish(); err != nil {
		return err
	}
	r.outcome("A", row, name, bad, "EACCES")
	return nil
}

// reaching hands the guest a process of its neighbour, as a socket in a volume that both have
// could.
func (r *run) reaching(ctx context.Context) error {
	st, err := r.h.Status(Neighbour)
	if err != nil {
		return err
	}
	fd, err := pidfd.Open(st.InitPID)
	if err != nil {
		return err
	}
	process := os.NewFile(uintptr(fd), "pidfd")
	defer process.Close()
	said, err := r.exec(ctx, Victim, process, "handed")
	if err == nil {
		r.outcome("B", 35, "use a process that a neighbour handed over", said, "EPERM")
	}
	return err
}

// hiding has the guest go where the tool's own processes are, and sees that it is found there:
// a limit that is set now would else not reach it.
func (r *run) hiding(ctx context.Context) error {
	cg, err := cgroup.Find()
	if err != nil {
		return err
	}
	p, err := r.begun(ctx, "hide")
	if err != nil {
		return err
	}
	p.lines.Scan()
	said, bad := p.lines.Text(), ""
	if said == "hidden" {
		bad, said, err = r.unfound(cg)
	}
	if _, e := p.finish(); err == nil {
		err = e
	}
	if err == nil {
		r.outcome("C", 35, "hide from limits among the host's servers", bad, said)
	}
	return err
}

// unfound names a process of the guest's that is not among those of its group.
func (r *run) unfound(cg cgroup.Host) (bad, said string, err error) {
	g, err := cg.Open(r.h.Dirs.Group(Victim))
	if err != nil {
		return "", "", err
	}
	defer g.Close()
	there, err := g.Read(cgroup.ServerLeaf + "/cgroup.procs")
	if err != nil {
		return "", "", err
	}
	found, err := g.Procs()
	for pid := range strings.FieldsSeq(there) {
		if n, _ := strconv.Atoi(pid); !slices.Contains(found, n) {
			return "process " + pid, "", err
		}
	}
	return "", "found", err
}

// pools has the guest hold all that it can get of every pool, and sees that its
// neighbour and the host have enough left.
func (r *run) pools(ctx context.Context) error {
	p, err := r.begun(ctx, "hold")
	if err != nil {
		return err
	}
	var held []string
	for p.lines.Scan() && p.lines.Text() != "held" {
		held = append(held, p.lines.Text())
	}
	said, err := r.exec(ctx, Neighbour, nil, "take")
	c := exec.CommandContext(ctx, "/proc/self/exe", "take", `{"Private":true}`)
	c.Args[0] = attack.Name
	onHost, hostErr := c.CombinedOutput()
	if _, endErr := p.finish(); err == nil {
		err = endErr
	}
	if err != nil {
		return err
	}
	why := ""
	if r.o.Userns == guest.UsernsNone {
		why = "without a user namespace its root is the host's, and counted with it"
	}
	if len(held) == 0 {
		said = "nothing was held"
	}
	text := string(onHost)
	if hostErr == nil {
		text = ""
	}
	for _, who := range []struct{ name, text string }{{"leave nothing of the pools to a neighbour", said}, {"leave nothing of the pools to the host", text}} {
		if who.text != "" && why != "" {
			r.note(attack.Outcome{Class: "C", Row: 37, Name: who.name, Verdict: attack.Allowed, Said: strings.TrimSpace(who.text), Why: why})
			continue
		}
		r.outcome("C", 37, who.name, who.text, "enough is left")
	}
	return nil
}
