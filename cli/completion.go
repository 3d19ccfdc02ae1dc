package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/store/settings"
)

func newCompletion(t *tool) *cobra.Command {
	c := command("completion bash|zsh|fish", `
Prints the completion of a shell: verbs, options, guests' names and settings' keys.
That of bash wants the package bash-completion.`, `
vserver completion bash > /usr/share/bash-completion/completions/vserver
vserver completion zsh > /usr/share/zsh/vendor-completions/_vserver
vserver completion fish > /usr/share/fish/vendor_completions.d/vserver.fish`,
		func(_ context.Context, args []string) error { return t.completion(args) })
	c.ValidArgs = []string{"bash", "zsh", "fish"}
	return c
}

// completion prints the completion of a shell.
func (t *tool) completion(args []string) error {
	if len(args) != 1 {
		return usageHint("vserver completion bash", "want one of bash, zsh, fish")
	}
	root := &cobra.Command{Use: "vserver"}
	switch args[0] {
	case "bash":
		return root.GenBashCompletionV2(t.out, true)
	case "zsh":
		return root.GenZshCompletion(t.out)
	case "fish":
		return root.GenFishCompletion(t.out, true)
	}
	return usageHint("vserver completion bash", "%s: want one of bash, zsh, fish", args[0])
}

// complete answers the shell: args are cobra's request and the words typed so far,
// the last one not finished.
func (t *tool) complete(args []string) int {
	request, words := args[0], args[1:]
	if len(words) == 0 {
		return exitUsage
	}
	if len(words) == 1 {
		return t.completeFirst(words[0])
	}
	if !isVerb(words[0]) {
		if len(words) == 2 {
			return t.completeVerb(words[1])
		}
		if !isVerb(words[1]) {
			return exitUsage
		}
		t.subject, words = words[0], slices.Concat(words[1:2], words[2:])
	}
	e, _ := lookup(words[0])
	t.verb = e.name
	root := &cobra.Command{Use: "vserver"}
	root.SetOut(t.out)
	root.SetErr(t.err)
	c := e.construct(t)
	if c.ValidArgsFunction == nil && c.ValidArgs == nil {
		c.ValidArgsFunction = t.completeArgs
	}
	t.completeOptions(c)
	root.AddCommand(c)
	root.SetArgs(append([]string{request}, words...))
	return exitCode(root.Execute())
}

// completeOptions offers what options want, where that is known here.
func (t *tool) completeOptions(c *cobra.Command) {
	const only = cobra.ShellCompDirectiveNoFileComp
	guests := func(begun string) []string { return t.guestNames(begun) }
	fixed := func(words ...string) func(string) []string {
		return func(begun string) []string { return matching(words, begun) }
	}
	for _, o := range []struct {
		name  string
		words func(begun string) []string
		other cobra.ShellCompDirective
	}{
		{"image", func(begun string) []string { return matching(t.imageNames(), begun) }, only},
		{"from", guests, cobra.ShellCompDirectiveDefault}, // or a directory
		{"depends", guests, only},
		{"debian", fixed("bookworm", "trixie", "sid"), only},
		{"signal", fixed("HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP"), only},
		{"sort", fixed(strings.Split(topSorts, "")...), only},
	} {
		if c.Flags().Lookup(o.name) != nil {
			_ = c.RegisterFlagCompletionFunc(o.name, func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
				return o.words(begun), o.other
			}) // it fails for one that has its own
		}
	}
}

// completeFirst offers the verbs and the guests.
func (t *tool) completeFirst(begun string) int {
	for _, e := range table() {
		if strings.HasPrefix(e.name, begun) {
			fmt.Fprintf(t.out, "%s\t%s\n", e.name, e.short)
		}
	}
	names, _ := t.host.Names()
	for _, n := range names {
		if strings.HasPrefix(string(n), begun) {
			fmt.Fprintf(t.out, "%s\tguest\n", n)
		}
	}
	fmt.Fprintf(t.out, ":%d\n", cobra.ShellCompDirectiveNoFileComp)
	return exitDone
}

// completeVerb offers the verbs that can follow a name.
func (t *tool) completeVerb(begun string) int {
	for _, e := range table() {
		if e.group != groupTools && strings.HasPrefix(e.name, begun) {
			fmt.Fprintf(t.out, "%s\t%s\n", e.name, e.short)
		}
	}
	fmt.Fprintf(t.out, ":%d\n", cobra.ShellCompDirectiveNoFileComp)
	return exitDone
}

// completeArgs offers what can follow a verb: guests' names, and keys of settings
// where they are wanted.
func (t *tool) completeArgs(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if t.subject != "" {
		args = append([]string{t.subject}, args...)
	}
	switch t.verb {
	case "help", "man":
		return guest.Verbs, cobra.ShellCompDirectiveNoFileComp
	case "version", "check", "ps", "top", "stat", "create", "build":
		return nil, cobra.ShellCompDirectiveNoFileComp
	case "config", "set":
		if len(args) > 0 {
			return t.completeKeys(begun)
		}
	case "exec", "suexec":
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
	case "net":
		if len(args) == 1 {
			return matching([]string{"add", "del", "list"}, begun), cobra.ShellCompDirectiveNoFileComp
		}
		if len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	case "rebase":
		if len(args) > 0 {
			return matching(t.imageNames(), begun), cobra.ShellCompDirectiveNoFileComp
		}
	case "import":
		return nil, cobra.ShellCompDirectiveDefault
	case "rename", "clone", "commit", "diff", "quota", "enter", "console", "logs", "edit", "info", "kill", "wait":
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
	names, err := t.host.Names()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var words []string
	for _, n := range names {
		if !slices.Contains(args, string(n)) && strings.HasPrefix(string(n), begun) {
			words = append(words, string(n))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeKeys offers the keys of a spec; behind set's "=", the words it can be.
func (t *tool) completeKeys(begun string) ([]string, cobra.ShellCompDirective) {
	var words []string
	key, _, valued := strings.Cut(begun, "=")
	for _, k := range settings.Keys() {
		switch {
		case valued && k.Path == key:
			for _, w := range k.Values {
				words = append(words, key+"="+w)
			}
		case valued || !strings.HasPrefix(k.Path, begun):
		case t.verb == "config":
			words = append(words, k.Path+"\t"+k.Doc)
		case !k.Section:
			words = append(words, k.Path+"=\t"+k.Doc)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
