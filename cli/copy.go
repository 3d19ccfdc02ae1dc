package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

// sendFlags are the options of copy.
type sendFlags struct {
	host.ExportOptions
	ssh   string
	there importFlags // what import is told there
	dry   bool
}

func newCopy(t *tool) *cobra.Command {
	var f sendFlags
	c := command("copy NAME [USER@]HOST[:NEWNAME] [OPTION...]", `
Makes a copy of a guest on another host, over ssh: what vserver export writes here is what
vserver import reads there, and images that the other host has are not sent. The guest
stays as it is, running or not; the copy is not started, and both have the same addresses
unless --ip or --no-addresses says otherwise.

The user at the other host must be able to run vserver there, which is root as a rule.
The settings are trusted there, as whoever can do this can do anything. When anything fails
on the way there is no guest at the other end.

The exit code is that of the import there when that failed.`, `
vserver web1 copy root@host2.example
vserver web1 copy root@host2.example:web2 --ip 192.0.2.12/24 --new-identity
vserver web1 copy host2 --snapshot tuesday --since monday --replace
vserver web1 copy host2 --ssh 'ssh -p 2222' --dry-run`,
		func(ctx context.Context, args []string) error {
			n, rest, err := t.one(args)
			if err != nil {
				return err
			}
			if len(rest) != 1 {
				return usageHint("vserver copy --help", "want a guest, and a host to copy it to")
			}
			return t.about(n, hintSnapshots(n, t.copy(ctx, f, n, rest[0])))
		})
	fl := c.Flags()
	fl.StringVar(&f.ssh, "ssh", "ssh", "`COMMAND` that reaches the other host, options behind it")
	fl.BoolVarP(&f.dry, "dry-run", "n", false, "ask the other host, and only tell what would be done")
	fl.StringVar(&f.Snapshot, "snapshot", "", "`SNAPSHOT` of the guest to copy, instead of what it is now")
	fl.StringVar(&f.Since, "since", "", "send what changed since `SNAPSHOT`, which the guest there has; with --replace")
	fl.IntVar(&f.Level, "level", 0, "how hard to pack, `1-19` as zstd has it")
	fl.UintVar(&f.there.xid, "xid", 0, "`N` to be its number there")
	fl.StringArrayVar(&f.there.ips, "ip", nil, "`ADDRESS/LENGTH` instead of the addresses that it has (repeatable)")
	fl.BoolVar(&f.there.NoAddresses, "no-addresses", false, "without its addresses")
	fl.BoolVar(&f.there.Fresh, "new-identity", false, "with a machine id and ssh host keys of its own")
	fl.BoolVar(&f.there.Replace, "replace", false, "for --since: what the guest there has changed itself is lost")
	fl.StringArrayVar(&f.there.wishes.sets, "set", nil, "`KEY=VALUE` any setting by its key (repeatable)")
	for _, flag := range []string{"snapshot", "since"} {
		t.completeSnapshotFlag(c, flag)
	}
	return c
}

// destination reads [USER@]HOST[:NEWNAME]; an address of IPv6 with a name behind it stands in
// brackets.
func destination(word string, n guest.Name) (to string, name guest.Name, err error) {
	user, rest, ok := strings.Cut(word, "@")
	if !ok {
		user, rest = "", word
	}
	name = n
	at, behind := rest, ""
	if inner, tail, ok := strings.Cut(strings.TrimPrefix(rest, "["), "]"); ok && strings.HasPrefix(rest, "[") {
		at, behind = inner, tail
	} else if strings.Count(rest, ":") == 1 {
		i := strings.IndexByte(rest, ':')
		at, behind = rest[:i], rest[i:]
	}
	if behind != "" {
		if name, err = guest.ParseName(strings.TrimPrefix(behind, ":")); err != nil {
			return "", "", usage{err.Error()}
		}
	}
	if at == "" || strings.HasPrefix(word, "-") || ok && user == "" || strings.ContainsAny(word, " \t\n") {
		return "", "", usageHint("vserver copy --help", "%q: want [USER@]HOST[:NEWNAME]", word)
	}
	if ok {
		at = user + "@" + at
	}
	return at, name, nil
}

// words are what import is told there.
func (f importFlags) words(n guest.Name) []string {
	out := []string{"vserver", "import", string(n), "-", "--trust"}
	if f.xid != 0 {
		out = append(out, "--xid", strconv.FormatUint(uint64(f.xid), 10))
	}
	for _, flag := range []struct {
		on   bool
		name string
	}{{f.NoAddresses, "--no-addresses"}, {f.Fresh, "--new-identity"}, {f.Replace, "--replace"}} {
		if flag.on {
			out = append(out, flag.name)
		}
	}
	for _, ip := range f.ips {
		out = append(out, "--ip", ip)
	}
	for _, s := range f.wishes.sets {
		out = append(out, "--set", s)
	}
	return out
}

// quoted makes words a line for the shell of the other host.
func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if w == "" || strings.ContainsFunc(w, func(r rune) bool { return !plainLetter(r) }) {
			out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}

func plainLetter(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@,+", r)
}

// copy copies a guest to another host.
func (t *tool) copy(ctx context.Context, f sendFlags, n guest.Name, word string) error {
	to, name, err := destination(word, n)
	if err != nil {
		return err
	}
	if !host.Exists(t.host, n) {
		return guest.ErrNotFound
	}
	there, err := t.ask(ctx, f, to)
	if err != nil {
		return err
	}
	if slices.Contains(there.guests, name) != f.there.Replace {
		if f.there.Replace {
			return fault.Hint(fmt.Errorf("%s has no guest %s: %w", to, name, guest.ErrNotFound), "vserver "+string(n)+" copy "+to+" --snapshot SNAPSHOT makes it")
		}
		return fault.Hint(fmt.Errorf("%s has a guest %s: %w", to, name, guest.ErrExists), "vserver "+string(n)+" copy "+to+":NEWNAME")
	}
	f.Without = there.images
	if f.dry {
		return t.copyPlan(f, n, name, to)
	}
	return t.copyNow(ctx, f, n, name, to)
}

// other is what another host has.
type other struct {
	guests []guest.Name
	images []string // digests
}

// remote is a command for the other host.
func (f sendFlags) remote(ctx context.Context, to, line string) *exec.Cmd {
	words := append(strings.Fields(f.ssh), "--", to, line)
	c := exec.CommandContext(ctx, words[0], words[1:]...)
	const patience = 5 * time.Second // for what ssh has begun and does not end
	c.WaitDelay = patience
	return c
}

// ask asks the other host what it has.
func (t *tool) ask(ctx context.Context, f sendFlags, to string) (o other, err error) {
	if len(strings.Fields(f.ssh)) == 0 {
		return o, usagef("--ssh: want a command")
	}
	c := f.remote(ctx, to, "vserver list --json -q && vserver image list --json")
	c.Stderr = t.err
	text, err := c.Output()
	if err != nil {
		return o, t.remoteError(to, err)
	}
	var images []imageJSON
	d := json.NewDecoder(strings.NewReader(string(text)))
	if err := errors.Join(d.Decode(&o.guests), d.Decode(&images)); err != nil {
		return o, fmt.Errorf("%s says what is no list: %w", to, err)
	}
	for _, im := range images {
		if im.Digest != "" {
			o.images = append(o.images, im.Digest)
		}
	}
	return o, nil
}

const unreachable, noCommand = 255, 127 // ssh(1), sh(1)

// remoteError is what became of a command at the other host, which has said itself what was
// wrong.
func (t *tool) remoteError(to string, err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch code := exit.ExitCode(); code {
	case unreachable:
		return fault.Hint(fmt.Errorf("%s: cannot be reached by ssh", to), "try `ssh "+to+" vserver version`; --ssh gives options")
	case noCommand:
		return fault.Hint(fmt.Errorf("%s: has no vserver", to), "install it there (`make install`), or name a user who finds it")
	case -1:
		return fmt.Errorf("%s: %w", to, exit)
	default:
		return coded{fmt.Errorf("%s: failed there, as it says, with exit code %d", to, code), code}
	}
}

// copyPlan tells what would be done.
func (t *tool) copyPlan(f sendFlags, n, name guest.Name, to string) error {
	spec, err := t.host.Load(n)
	if err != nil {
		return err
	}
	sent, kept := []string{}, []string{}
	for _, l := range spec.Root.Lower {
		if strings.HasPrefix(l, "/") {
			continue
		}
		im, err := host.ShowImage(t.host, l)
		switch {
		case err != nil:
			return err
		case f.Since != "" || slices.Contains(f.Without, im.Digest):
			kept = append(kept, im.Name)
		default:
			sent = append(sent, im.Name)
		}
	}
	line := quoted(f.there.words(name))
	if t.json {
		return writeJSON(t.out, map[string]any{"host": to, "guest": name, "send": sent, "there": kept, "command": line})
	}
	for _, im := range kept {
		fmt.Fprintf(t.out, "image %s is there\n", im)
	}
	for _, im := range sent {
		fmt.Fprintf(t.out, "send image %s\n", im)
	}
	_, err = fmt.Fprintf(t.out, "send %s to %s\nrun %s\n", n, to, line)
	return err
}

// copyNow sends the guest.
func (t *tool) copyNow(ctx context.Context, f sendFlags, n, name guest.Name, to string) error {
	c := f.remote(ctx, to, quoted(f.there.words(name)))
	c.Stderr = t.err
	var said strings.Builder
	c.Stdout = &said
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	f.Progress = t.newProgress(n)
	err = host.Export(ctx, t.host, n, f.ExportOptions, in)
	if err != nil && !errors.Is(err, syscall.EPIPE) { // with that it ends by itself, and says why
		err = errors.Join(err, c.Process.Kill()) // the other end finds that it has not got all
	}
	in.Close()
	werr := c.Wait()
	var exit *exec.ExitError
	if errors.As(werr, &exit) && exit.Exited() || err == nil && werr != nil {
		if exit != nil && exit.ExitCode() == unreachable { // it was reached before
			return fmt.Errorf("%s: the import was killed there, or the connection lost", to)
		}
		return t.remoteError(to, werr) // why it took no more
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(t.out, said.String())
	return err
}
