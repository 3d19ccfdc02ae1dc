package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// entry is one verb: its name, the group that help shows it in, what it does in a
// line, and how it is made. guest.Verbs names the same words; a test compares them.
type entry struct {
	name, group, short string
	make               func(*tool) *cobra.Command
}

// The groups of verbs, in the order of the help text.
const (
	groupMake  = "Make and remove guests"
	groupRun   = "Start and stop"
	groupIn    = "Inside a guest"
	groupLook  = "Look"
	groupSpec  = "Settings"
	groupTools = "Host and help"
)

// table lists every verb, grouped, in the order of the help text.
func table() []entry { return slices.Concat(forGuests(), packagers(), forHost()) }

// forGuests are the verbs of a guest's life.
func forGuests() []entry {
	return []entry{
		{"create", groupMake, "make a guest and start it", newCreate},
		{"build", groupMake, "make a guest", newBuild},
		{"clone", groupMake, "make a guest like another, running or not", newClone},
		{"rename", groupMake, "give a stopped guest another name", newRename},
		{"delete", groupMake, "remove a guest and its files", newDelete},
		{"export", groupMake, "write a guest as one file, for another host or for later", newExport},
		{"import", groupMake, "make the guest that an export has", newImport},
		{"image", groupMake, "make, list, export, delete what guests' roots lie over", newImage},
		{"pool", groupMake, "make equal files of images one, verify them, collect garbage", newPool},
		{"hashify", groupMake, "make equal files of guests one (vhashify)", newHashify},
		{"unify", groupMake, "the same as hashify (vunify)", newUnify},
		{"unhashify", groupMake, "give guests copies of what is one", newUnhashify},
		{"copy", groupMake, "make a copy of a guest on another host, over ssh", newCopy},
		{"commit", groupMake, "make an image of what a guest is", newCommit},
		{"rebase", groupMake, "lay a stopped guest over another image", newRebase},
		{"snapshot", groupMake, "take, list, compare, give back, delete what a guest was", newSnapshot},
		{"rollback", groupMake, "give a stopped guest the files of its last snapshot", newRollback},
		{"volume", groupMake, "list, make, delete directories that outlive guests", newVolume},

		{"start", groupRun, "start guests", newStart},
		{"stop", groupRun, "stop guests", newStop},
		{"restart", groupRun, "stop and start guests", newRestart},
		{"condrestart", groupRun, "restart those guests that run", newCondrestart},
		{"kill", groupRun, "send a signal to a guest or to its processes (vkill)", newKill},
		{"wait", groupRun, "wait until a guest has ended (vwait)", newWait},

		{"enter", groupIn, "a login shell in a guest", newEnter},
		{"exec", groupIn, "run a command in a guest", newExec},
		{"suexec", groupIn, "run a command in a guest as one of its users", newSuexec},
		{"chkconfig", groupIn, "chkconfig in a guest", newChkconfig},
		{"pkg", groupIn, "packages of a guest, with or without a manager of its own", newPkg},
		{"console", groupIn, "attach to a guest's console", newConsole},
		{"logs", groupIn, "show what a guest wrote to its console", newLogs},
		{"push", groupIn, "copy files into a guest, running or not", newPush},
		{"pull", groupIn, "copy files out of a guest, running or not", newPull},
		{"mount", groupIn, "mount the root of a stopped guest on the host", newMount},
		{"umount", groupIn, "take that mount away", newUmount},
		{"cp", groupIn, "copy files between guests and the host", newCp},
	}
}

// forHost are the verbs that look, and those of settings and of the host.
func forHost() []entry {
	return []entry{
		{"list", groupLook, "list the guests", newList},
		{"status", groupLook, "say whether a guest runs, and why not", newStatus},
		{"running", groupLook, "test silently whether a guest runs", newRunning},
		{"info", groupLook, "what is known of a guest, or of this host", newInfo},
		{"stat", groupLook, "processes, memory and time by guest (vserver-stat)", newStat},
		{"ps", groupLook, "the host's ps with the guest of each process (vps)", newPs},
		{"vdu", groupLook, "what guests' files take of the disk, alone and in common", newVdu},
		{"diff", groupLook, "what a guest changed of what it lies upon, or since a snapshot", newDiff},
		{"top", groupLook, "live table of guests (vtop)", newTop},
		{"events", groupLook, "tell what happens to guests, as it happens", newEvents},

		{"config", groupSpec, "show a guest's settings, or one of them", newConfig},
		{"set", groupSpec, "change settings of a guest", newSet},
		{"migrate", groupSpec, "make a spec of a directory of Linux-VServer's", newMigrate},
		{"net", groupSpec, "add, delete or list addresses of a guest, while it runs", newNet},
		{"quota", groupSpec, "show or set what a guest's users may have of the disk", newQuota},
		{"edit", groupSpec, "edit a guest's settings, checked before they count", newEdit},

		{"chbind", groupTools, "run a command with some of the host's addresses only", newChbind},
		{"ncontext", groupTools, "make or join a network context, and run a command in it", newNcontext},
		{"naddress", groupTools, "change the addresses of a network context", newNaddress},
		{"nattribute", groupTools, "show or change what a network context may do", newNattribute},
		{"chcontext", groupTools, "run a command apart from the host's other processes", newChcontext},
		{"vcontext", groupTools, "make or join a security context, and run a command in it", newVcontext},
		{"start-vservers", groupTools, "start or stop all guests of a mark", newStartVservers},
		{"check", groupTools, "what this host can do for guests, and what bites", newCheck},
		{"completion", groupTools, "completion for bash, zsh or fish", newCompletion},
		{"man", groupTools, "show or write the manual pages", newMan},
		{"version", groupTools, "show the version", newVersion},
		{"help", groupTools, "show help of a command", newHelp},
	}
}

// lookup finds a verb.
func lookup(verb string) (entry, bool) {
	for _, e := range table() {
		if e.name == verb {
			return e, true
		}
	}
	return entry{}, false
}

// construct makes the command, with what all of them share.
func (e entry) construct(t *tool) *cobra.Command {
	c := e.make(t)
	c.Short = e.short
	c.SilenceErrors, c.SilenceUsage = true, true
	c.DisableFlagsInUseLine = true
	c.SetOut(t.out)
	c.SetErr(t.err)
	do, full := c.RunE, false
	c.RunE = func(c *cobra.Command, args []string) error {
		if full {
			_, err := t.out.WriteString(e.page(c).Help(true))
			return err
		}
		ctx, stop := interruptible(c.Context())
		defer stop()
		c.SetContext(ctx)
		err := do(c, args)
		_, answered := err.(code)
		t.interrupted = err != nil && !answered && ctx.Err() != nil
		return err
	}
	c.SetHelpFunc(func(c *cobra.Command, _ []string) { t.out.WriteString(e.page(c).Help(false)) })
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		said := flagComplaint(err)
		if near := likelyOption(err, c.Flags()); near != "" {
			said += "; " + near + " is one"
		}
		return usageHint("vserver "+e.name+" --help", "%s", said)
	})
	flags := c.Flags()
	flags.BoolVar(&t.json, "json", t.json, "print JSON, errors as well")
	flags.BoolP("help", "h", false, "show this help")
	if c.Flags().Lookup(settingsFlag) != nil {
		flags.BoolVar(&full, "help-all", false, "show all options")
	}
	flags.SortFlags = false
	return c
}

// flagComplaint puts a parser's complaint in our words.
func flagComplaint(err error) string {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		cause := errors.Unwrap(bad).Error()
		var number *strconv.NumError
		if errors.As(err, &number) {
			cause = fmt.Sprintf("%q: want a number", bad.GetValue())
		}
		return "--" + bad.GetFlag().Name + ": " + cause
	}
	return strings.NewReplacer("shorthand flag", "option", "flag needs an argument", "option needs a value", "flag", "option").Replace(err.Error())
}

// run is the function behind a command: the flags are parsed, args are what is left.
type run func(ctx context.Context, args []string) error

// command makes the cobra command of a verb: its line of usage, its text, its
// examples, its function.
func command(use, long, examples string, do run) *cobra.Command {
	return &cobra.Command{
		Use:     use,
		Long:    long,
		Example: examples,
		RunE:    func(c *cobra.Command, args []string) error { return do(c.Context(), args) },
	}
}

// firstWordEnds makes the options end at the first other word, for commands that
// run a command with options of its own.
func firstWordEnds(c *cobra.Command) *pflag.FlagSet {
	c.Flags().SetInterspersed(false)
	return c.Flags()
}
