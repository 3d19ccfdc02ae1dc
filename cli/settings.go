package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vserver/guest"
	"vserver/store/settings"
)

// wishes are the settings of a new guest as flags, one for each key of a spec.
type wishes struct {
	list []wish   // as they were given, in their order
	sets []string // --set
}

// wish is one value that a flag asks for.
type wish struct {
	key   settings.Key
	value string
}

// settingsFlag is the flag of commands that have all settings as flags.
const settingsFlag = "set"

// flags adds a flag for each setting, and --set for those who know the paths.
func (w *wishes) flags(c *cobra.Command) {
	for _, k := range settings.Keys() {
		if k.Section {
			continue
		}
		words := k.Doc
		if k.List() || k.Map() {
			words += " (repeatable)"
		}
		name := flagName(k.Path)
		f := c.Flags().VarPF(&settingFlag{k, w}, name, "", words)
		if k.Type() == "true or false" {
			f.NoOptDefVal = "true"
		}
		f.DefValue = k.Default
		if k.Values != nil {
			c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(k.Values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	c.Flags().StringArrayVar(&w.sets, settingsFlag, nil, "`KEY=VALUE` any setting by its key, as vserver set takes it (repeatable)")
}

// flagName is the flag of a setting: the last word of its key, or the last two of a
// section in a section, but for those whose last word alone says too little.
func flagName(key string) string {
	switch key {
	case "network.addresses":
		return "ip"
	case "network.mode":
		return "network"
	case "init.style":
		return "init"
	case "init.environment":
		return "env"
	case "root.kind":
		return "root"
	case "console.type":
		return "console"
	case "boot.marks":
		return "mark"
	case "limits.ceilings":
		return "ceiling"
	case "limits.rlimits":
		return "rlimit"
	case "rights.flags":
		return "cflag"
	case "network.flags": // --flags are context flags, as of old
		return "nflag"
	case "view.flags":
		return "view"
	}
	if _, below, ok := strings.Cut(key, "."); ok {
		key = below
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(key)
}

// valueName is the word that stands for the value in the help text; "" for a switch.
func valueName(k settings.Key) string {
	switch {
	case k.Type() == "true or false":
		return ""
	case k.Values != nil:
		return strings.Join(k.Values, "|")
	case k.Map():
		return "NAME=VALUE"
	case k.Path == "network.addresses":
		return "ADDRESS/LENGTH"
	case strings.HasSuffix(k.Type(), "number"):
		return "N"
	case k.Type() == "text" || k.List():
		return strings.ToUpper(strings.ReplaceAll(flagName(k.Path), "-", "_"))
	}
	switch k.Type() {
	case "bytes":
		return "SIZE"
	case "duration":
		return "TIME"
	}
	return strings.ToUpper(k.Type())
}

// spec builds the spec that the flags ask for, through the same checks that a file
// passes.
func (w wishes) spec() (*guest.Spec, error) {
	text, _, err := settings.Apply("options", nil, slices.Concat(w.changes(), w.sets))
	if err != nil {
		return nil, usage{unplaced(err).Error()}
	}
	return settings.Parse("options", text)
}

// unplaced takes line and column away from what is wrong with options: they stand in no
// text that the user has seen.
func unplaced(err error) error {
	var all settings.Problems
	if !errors.As(err, &all) {
		return err
	}
	all = slices.Clone(all)
	for i := range all {
		all[i].File, all[i].Line = "", 0
	}
	return all
}

// change puts what the flags ask for into a spec that is there.
func (w wishes) change(spec *guest.Spec) error {
	if len(w.list) == 0 && len(w.sets) == 0 {
		return nil
	}
	text, _, err := settings.Apply("options", settings.Render("options", spec), slices.Concat(w.changes(), w.sets))
	if err != nil {
		return usage{unplaced(err).Error()}
	}
	changed, err := settings.Parse("options", text)
	if err == nil {
		*spec = *changed
	}
	return err
}

// changes are the flags in the words of vserver set. Several values of a list are
// added up, but not to those that a clone's origin has; of another setting the last
// one counts.
func (w wishes) changes() []string {
	var changes []string
	begun := make(map[string]bool)
	for _, one := range w.list {
		switch {
		case begun[one.key.Path]:
			changes = append(changes, one.key.Path+"+="+one.value)
		case one.key.List():
			begun[one.key.Path] = true
			changes = append(changes, one.key.Path+"="+one.value)
		case one.key.Map():
			changes = append(changes, one.key.Path+"."+one.value)
		default:
			changes = append(changes, one.key.Path+"="+one.value)
		}
	}
	return changes
}

// settingFlag is the flag of one setting.
type settingFlag struct {
	key    settings.Key
	wishes *wishes
}

var _ pflag.Value = (*settingFlag)(nil)

// Set takes one value.
func (f *settingFlag) Set(value string) error {
	f.wishes.list = append(f.wishes.list, wish{f.key, value})
	return nil
}

// String gives nothing: a setting that was not asked for has its default.
func (f *settingFlag) String() string { return "" }

// Type names the value.
func (f *settingFlag) Type() string { return f.key.Type() }
