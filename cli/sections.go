package cli

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vserver/manual"
	"vserver/store/settings"
)

// sections are the options of a command: first its own, then the settings that most guests
// are given, then the others by the section of the spec that they stand in.
func sections(c *cobra.Command) []manual.Section {
	list := []manual.Section{{Title: "Options"}, {Title: "Settings most used"}, {Title: "guest", Doc: "who it is, and how it is kept running", Further: true}}
	often := oftenSet()
	for _, k := range settings.Keys() {
		if k.Section && !strings.Contains(k.Path, ".") {
			list = append(list, manual.Section{Title: k.Path, Doc: k.Doc, Further: true})
		}
	}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		o, setting := option(f)
		top, _, below := strings.Cut(setting, ".")
		i := 2
		switch {
		case setting == "":
			i = 0
		case slices.Contains(often, o.Long):
			i = 1
		case below:
			i = slices.IndexFunc(list, func(s manual.Section) bool { return s.Title == top })
		}
		list[i].Options = append(list[i].Options, o)
	})
	slices.SortStableFunc(list[1].Options, func(a, b manual.Option) int {
		return cmp.Compare(slices.Index(often, a.Long), slices.Index(often, b.Long))
	})
	return slices.DeleteFunc(list, func(s manual.Section) bool { return len(s.Options) == 0 })
}

// option is a flag as a page has it, and the key of a new guest's spec that it is; "" for
// others.
func option(f *pflag.Flag) (o manual.Option, setting string) {
	value, text := pflag.UnquoteUsage(f)
	o = manual.Option{Short: f.Shorthand, Long: f.Name, Value: value, Text: text}
	if s, ok := f.Value.(*settingFlag); ok {
		o.Value, o.Text, setting = valueName(s.key), f.Usage, s.key.Path
	}
	if !slices.Contains([]string{"", "false", "0", "[]", "0s"}, f.DefValue) {
		o.Preset = f.DefValue
	}
	return o, setting
}

// oftenSet are the settings, by their flags, that help shows before all others.
func oftenSet() []string {
	return []string{
		"ip", "network", "publish", "dns", "memory", "cpus", "disk", "pids", "mounts",
		"init", "command", "env", "mark", "depends", "restart", "hostname", "xid",
	}
}
