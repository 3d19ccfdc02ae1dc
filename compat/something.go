package compat

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"vserver/guest"
)

// newVsomething runs a command for each of several guests.
func newVsomething(c *call) run {
	quiet := c.flags.BoolP("quiet", "q", false, "no line for each guest")
	c.flags.Bool("debug", false, "accepted: nothing is a shell script")
	return func(words []string) error {
		if len(words) == 0 {
			return usagef("no operation specified")
		}
		return c.something([]string{words[0]}, words[1:], *quiet)
	}
}

// newFleet is vsomething for a command of guests.
func newFleet(command ...string) func(*call) run {
	return newFleetVerb(append([]string{"exec"}, command...)...)
}

// newFleetVerb is vsomething for a verb of vserver.
func newFleetVerb(words ...string) func(*call) run {
	return func(c *call) run {
		return func(names []string) error {
			return c.something(append([]string{"vserver", ""}, words...), names, false)
		}
	}
}

// newVpkg goes on as `vserver NAME pkg`.
func newVpkg(*call) run {
	return func(words []string) error {
		if len(words) < 2 {
			return usagef("want a guest, and install or get-conffiles")
		}
		return executeSelf(slices.Concat([]string{"vserver", "pkg"}, words))
	}
}

// something runs command NAME PARAMS for each guest that words mean: NAMES and filters,
// and behind -- the parameters. In command an empty word is the place of the name.
func (c *call) something(command, words []string, quiet bool) error {
	if len(words) == 0 {
		return usagef("which guests? want NAME... or a filter, such as --all")
	}
	names, params, err := c.meant(words)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return code(255)
	}
	title := os.Getenv("VSOMETHING_TITLE")
	switch {
	case title != "":
	case c.name == "vsomething":
		title = command[0]
	default:
		title = c.name
	}
	quiet = quiet || len(names) == 1
	var last error
	for _, n := range names {
		if !quiet {
			fmt.Fprintf(c.out, "%s: operating on vserver %s\n", title, n)
		}
		argv := slices.Clone(command)
		if at := slices.Index(argv, ""); at >= 0 {
			argv[at] = n
		} else {
			argv = append(argv, n)
		}
		last = spread(named(append(argv, params...)))
		if !quiet {
			var exit code
			if errors.As(last, &exit) {
				fmt.Fprintf(c.err, "%s failed on vserver '%s' with errorcode %d\n", title, n, exit)
			}
			fmt.Fprintln(c.out)
		}
	}
	return last
}

// meant reads the names and filters in front of --, which guests must match all of, and
// the parameters behind it.
func (c *call) meant(words []string) (names, params []string, err error) {
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if i := slices.Index(words, "--"); i >= 0 {
		words, params = words[:i], words[i+1:]
	}
	var filters []func(guest.Status, *guest.Spec) bool
	for i := 0; i < len(words); i++ {
		w := words[i]
		if !strings.HasPrefix(w, "--") {
			names = append(names, w)
			continue
		}
		arg := ""
		if w, arg, _ = strings.Cut(w, "="); w == "--mark" && arg == "" {
			if i++; i == len(words) {
				return nil, nil, usagef("--mark: which?")
			}
			arg = words[i]
		}
		f, err := filter(w, arg)
		if err != nil {
			return nil, nil, err
		}
		filters = append(filters, f)
	}
	if len(filters) == 0 {
		return names, params, nil
	}
	all, err := c.host.List(false)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range all {
		spec, err := c.host.Load(s.Name)
		if err != nil {
			continue // who cannot be read is in no group
		}
		if !slices.ContainsFunc(filters, func(f func(guest.Status, *guest.Spec) bool) bool { return !f(s, spec) }) {
			names = append(names, string(s.Name))
		}
	}
	return names, params, nil
}

// filter gives what a word like --running tells of a guest.
func filter(word, arg string) (func(guest.Status, *guest.Spec) bool, error) {
	runs := func(s guest.Status) bool { return s.State == guest.Running || s.State == guest.Frozen }
	switch word {
	case "--all":
		return func(guest.Status, *guest.Spec) bool { return true }, nil
	case "--running":
		return func(s guest.Status, _ *guest.Spec) bool { return runs(s) }, nil
	case "--stopped":
		return func(s guest.Status, _ *guest.Spec) bool { return !runs(s) }, nil
	case "--marked":
		return func(_ guest.Status, spec *guest.Spec) bool { return len(spec.Boot.Marks) > 0 }, nil
	case "--unmarked":
		return func(_ guest.Status, spec *guest.Spec) bool { return len(spec.Boot.Marks) == 0 }, nil
	case "--mark":
		return func(_ guest.Status, spec *guest.Spec) bool { return marked(spec.Boot.Marks, arg) }, nil
	}
	return nil, usagef("%s: no such filter", word)
}

// marked tells whether marks are among those of a list; of one with ! or ~ in front it is
// the absence that counts.
func marked(marks []string, list string) bool {
	any, wanted := false, false
	for w := range strings.SplitSeq(list, ",") {
		if not := strings.TrimLeft(w, "!~"); not != w {
			if slices.Contains(marks, not) {
				return false
			}
			continue
		}
		wanted = true
		any = any || slices.Contains(marks, w)
	}
	return any || !wanted
}

// named is a command, which is this program itself if it is one of its names.
func named(argv []string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	if !errors.Is(cmd.Err, exec.ErrNotFound) || filepath.Base(argv[0]) != argv[0] {
		return cmd
	}
	if self, err := os.Executable(); err == nil {
		cmd = &exec.Cmd{Path: self, Args: argv}
	}
	return cmd
}
