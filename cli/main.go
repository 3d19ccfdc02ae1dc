// Package cli is the command line: which program is called, which verb, for which
// guests, and what is said about it.
//
// One file holds one command: its help, its flags and one plain function over
// package host. table.go lists them all; the text there and in the commands is the
// only source of --help, of the man pages, of the completion and of doc/cli.md.
// Only the command that was asked for is constructed, because a start that takes
// four milliseconds has none to spare for thirty commands that are not run.
//
//house:allow a file for each command and its help
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/kernel/solo"
)

// version is what `vserver version` prints. The linker sets it; nothing else does.
var version = "dev"

// tool is one run of the program.
type tool struct {
	program string // the name it was called by, as it stands in front of errors
	verb    string
	subject string // NAME of `vserver NAME VERB`, or ""
	json    bool   // --json was given
	jobs    int    // how many guests are worked on at once; 0 is parallel

	optionless  bool // no word is an option, so nobody needs their list
	interrupted bool // by a signal, and did not come to its end therefore

	host    *host.Host
	in, err *os.File
	out     *output
}

// Main runs the program that args[0] names with the arguments behind it, and gives
// its exit code.
func Main(args []string) int { return Run(context.Background(), args) }

// Run is Main for who has more to do when it comes back. The command is interrupted when ctx
// ends.
func Run(ctx context.Context, args []string) int {
	roomy(len(args))
	t := &tool{
		program: filepath.Base(args[0]),
		host:    host.Open(guest.DefaultDirs(os.Getenv(guest.RootVar))),
		in:      os.Stdin, out: newOutput(os.Stdout), err: os.Stderr,
	}
	args = args[1:]
	if len(args) == 1 && (args[0] == "--version" || args[0] == "-V") {
		_, err := fmt.Fprintln(t.out, "vserver", version)
		return t.report(t.about("", err))
	}
	if len(args) > 0 && strings.HasPrefix(args[0], "__complete") {
		return t.complete(args)
	}
	return t.report(t.about("", t.said(t.run(ctx, args))))
}

// said is err, or that what a command had to say was lost.
func (t *tool) said(err error) error {
	if _, answered := err.(code); (err == nil || answered) && t.out.Lost != nil {
		return t.out.Lost
	}
	return err
}

// roomy has the runtime make this goroutine's stack at once as large as commands need
// it. It would double it three times on the way, and look up each caller's frame in
// tables that lie cold: 0.1 ms (measured 2026-11, Go 1.26).
//
//go:noinline
func roomy(n int) byte {
	var room [10 << 10]byte
	return room[n&0xff]
}

// run finds the verb and hands the rest of the words to it.
func (t *tool) run(ctx context.Context, args []string) error {
	t.json = wantsJSON(args)
	words := args
	if verb := toolVerb(t.program); verb != "" {
		t.verb = verb
	} else {
		t.program = "vserver"
		var err error
		if args, err = ofOld(args); err != nil {
			return err
		}
		if t.verb, t.subject, words, err = arrange(args, t.knows); err != nil {
			return err
		}
	}
	e, ok := lookup(t.verb)
	if !ok {
		return usagef("no such command: %s", t.verb)
	}
	if !brief(t.verb) {
		solo.Over()
	}
	if t.subject == "" && len(words) > 0 && !strings.HasPrefix(words[0], "-") && (t.verb == "exec" || t.verb == "suexec") {
		t.subject, words = words[0], words[1:] // so that options may follow the name here too
	}
	t.optionless = !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") })
	c := e.construct(t)
	c.SetArgs(append([]string{}, words...)) // nil would be os.Args to cobra
	return c.ExecuteContext(ctx)
}

// brief tells the verbs that wait for the kernel rather than compute. What of them does
// compute, or does several things at once, has solo.Over called by itself.
func brief(verb string) bool {
	return slices.Contains([]string{"start", "stop", "exec", "suexec", "running", "version", "build", "create", "clone", "snapshot", "rollback"}, verb)
}

// Names are the names that the program answers to as a verb, besides its own.
func Names() []string {
	return []string{"chbind", "chcontext", "naddress", "nattribute", "ncontext", "start-vservers", "stop-vservers", "vcontext", "vhashify", "vkill", "vps", "vserver-stat", "vtop", "vunify", "vwait"}
}

// toolVerb is the verb that an old tool's name stands for, "" for vserver itself.
func toolVerb(program string) string {
	switch program {
	case "vserver-stat":
		return "stat"
	case "vps", "vtop", "vkill", "vwait", "vhashify", "vunify":
		return program[1:]
	case "stop-vservers":
		return "start-vservers"
	}
	if slices.Contains(Names(), program) {
		return program
	}
	return ""
}

// arrange brings both orders into one: `VERB WORDS...` and `NAME VERB WORDS...`.
// Global options may stand in front.
func arrange(args []string, known func(string) bool) (verb, subject string, words []string, err error) {
	n := slices.IndexFunc(args, func(s string) bool { return !strings.HasPrefix(s, "-") })
	if n < 0 { // --help alone, --json alone
		return "help", "", slices.DeleteFunc(slices.Clone(args), func(s string) bool { return s == "--help" || s == "-h" }), nil
	}
	lead, rest := args[:n:n], args[n:]
	if isVerb(rest[0]) {
		return rest[0], "", append(lead, rest[1:]...), nil
	}
	// Options behind the name and before the verb are taken as the verb's own.
	v := slices.IndexFunc(rest[1:], func(s string) bool { return !strings.HasPrefix(s, "-") })
	if v >= 0 && isVerb(rest[1+v]) {
		words = slices.Concat(lead, rest[1:1+v], rest[2+v:])
		return rest[1+v], rest[0], words, nil
	}
	return "", "", nil, strange(rest, known)
}

// strange says what is wrong with words among which there is no verb where one
// could stand. known tells the names of guests.
func strange(words []string, known func(string) bool) error {
	if len(words) == 1 {
		if known(words[0]) {
			return usageHint("vserver "+words[0]+" status", "%s: what about it? a verb is missing", words[0])
		}
		if near := likely(words[0]); near != "" {
			return usageHint("vserver "+near+" --help", "no such command: %s; %s is one", words[0], near)
		}
		return usageHint("vserver help", "%s is neither a command nor a guest", words[0])
	}
	for _, w := range words[:2] {
		if near := likely(w); near != "" {
			return usageHint("vserver "+near+" --help", "no such command: %s; %s is one", w, near)
		}
	}
	if i := slices.IndexFunc(words, isVerb); i > 0 {
		return usageHint(strings.Join(slices.Concat([]string{"vserver", words[i]}, words[:i]), " "),
			"several guests stand behind the verb, not before it")
	}
	if known(words[0]) && words[1] == "pkgmgmt" {
		return coded{fault.Hint(errors.New(words[0]+": pkgmgmt: what is installed is noted in the guest, always"),
			"`vserver "+words[0]+" apt-get` and `vserver "+words[0]+" pkg install` need no package manager in it"), exitUnsupported}
	}
	if known(words[0]) {
		return usageHint("vserver help", "no such command: %s", words[1])
	}
	return usageHint("vserver help", "neither %s nor %s is a command", words[0], words[1])
}

// knows says whether there is a guest of that name.
func (t *tool) knows(name string) bool {
	names, err := t.host.Names()
	return err == nil && slices.Contains(names, guest.Name(name))
}

// isVerb says whether the word is a verb of the vserver command.
func isVerb(word string) bool { return slices.Contains(guest.Verbs, word) }

// wantsJSON says whether --json stands among the options, before they are parsed:
// a complaint about the options themselves is JSON as well.
func wantsJSON(args []string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if a == "--json" || a == "--json=true" {
			return true
		}
	}
	return false
}
