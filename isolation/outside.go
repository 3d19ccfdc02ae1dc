package isolation

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"vserver/guest"
	"vserver/isolation/attack"
	"vserver/kernel/file"
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
	p, err := r.begun(ctx, "watch")
	if err != nil {
		return err
	}
	p.lines.Scan()
	for range entries {
		if _, err := r.exec(ctx, Victim, nil, "nothing"); err != nil {
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
	r.outcome("A", 1, "look into a program on its way into the guest", bad, "EACCES")
	return nil
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
		r.outcome("C", 37, who.name, who.text, "enough is left")
		if o := &r.all[len(r.all)-1]; o.Bad() && why != "" {
			o.Verdict, o.Why = attack.Allowed, why
		}
	}
	return nil
}
