package cli

import (
	"encoding"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vserver/guest"
)

// setting is one value of a spec as a flag of create and build.
type setting struct {
	path   string // "limits.memory"
	flag   string // "memory"
	doc    string
	preset string // what it is when nothing is said
	typ    reflect.Type
	words  []string // the values there are, when they can be listed
}

// settings lists every value of a spec, from the fields and tags of guest.Spec.
func settings() []setting {
	return settingsOf(reflect.TypeFor[guest.Spec](), "")
}

func settingsOf(t reflect.Type, prefix string) []setting {
	var list []setting
	for f := range t.Fields() {
		key := prefix + f.Tag.Get("yaml")
		if f.Type.Kind() == reflect.Struct && !isText(f.Type) {
			list = append(list, settingsOf(f.Type, key+".")...)
			continue
		}
		s := setting{path: key, flag: flagName(key), doc: f.Tag.Get("doc"), preset: f.Tag.Get("default"), typ: f.Type}
		if v, ok := reflect.Zero(f.Type).Interface().(interface{ Values() []string }); ok {
			s.words = v.Values()
		}
		list = append(list, s)
	}
	return list
}

// isText says whether values of the type are written as one word.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// flagName is the flag of a setting: the last word of its path, but for those whose
// last word alone says too little.
func flagName(path string) string {
	switch path {
	case "network.addresses":
		return "ip"
	case "network.mode":
		return "network"
	case "init.style":
		return "init"
	case "root.kind":
		return "root"
	case "console.type":
		return "console"
	case "boot.marks":
		return "mark"
	case "limits.rlimits":
		return "rlimit"
	case "init.environment":
		return "env"
	}
	return strings.ReplaceAll(path[strings.LastIndexByte(path, '.')+1:], "_", "-")
}

// isList says whether the setting takes several values, each by a flag of its own.
func (s setting) isList() bool { return s.typ.Kind() == reflect.Slice || s.typ.Kind() == reflect.Map }

// wish is one value that a flag asks for.
type wish struct{ path, value string }

// wishes are the flags of the settings as they were given, in their order.
type wishes struct {
	list []wish
	sets []string // --set
}

// flags adds a flag for each setting, and --set for those who know the paths.
func (w *wishes) flags(c *cobra.Command) {
	for _, s := range settings() {
		words := s.doc
		if s.isList() {
			words += " (repeatable)"
		}
		f := c.Flags().VarPF(&settingFlag{setting: s, wishes: w}, s.flag, "", "`"+s.valueName()+"` "+words)
		if s.typ.Kind() == reflect.Bool {
			f.NoOptDefVal = "true"
			f.Usage = words
		}
		f.DefValue = s.preset
		if s.words != nil {
			c.RegisterFlagCompletionFunc(s.flag, cobra.FixedCompletions(s.words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	c.Flags().StringArrayVar(&w.sets, "set", nil, "`KEY=VALUE` any setting by its path, as vserver set takes it (repeatable)")
}

// valueName is the word that stands for the value in the help text.
func (s setting) valueName() string {
	switch {
	case s.words != nil:
		return strings.Join(s.words, "|")
	case s.typ.Kind() == reflect.Map:
		return "KEY=VALUE"
	case s.flag == "ip":
		return "ADDRESS/LENGTH"
	}
	switch s.typ {
	case reflect.TypeFor[guest.Bytes]():
		return "SIZE"
	case reflect.TypeFor[guest.Duration]():
		return "TIME"
	}
	switch s.typ.Kind() {
	case reflect.Int, reflect.Uint32, reflect.Float64:
		return "N"
	}
	return strings.ToUpper(strings.ReplaceAll(s.flag, "-", "_"))
}

// spec builds the spec that the flags ask for, through the same checks that a file
// passes.
func (w wishes) spec() (*guest.Spec, error) {
	return nil, guest.ErrUnsupported
}

// paths are the settings that were asked for, each once.
func (w wishes) paths() []string {
	var paths []string
	for _, one := range w.list {
		if !slices.Contains(paths, one.path) {
			paths = append(paths, one.path)
		}
	}
	return paths
}

// value is what was asked of one setting: the last word, or for a list all of them
// in YAML's notation.
func (w wishes) value(path string) string {
	var values []string
	for _, one := range w.list {
		if one.path == path {
			values = append(values, one.value)
		}
	}
	i := slices.IndexFunc(settings(), func(s setting) bool { return s.path == path })
	switch s := settings()[i]; s.typ.Kind() {
	case reflect.Slice:
		return "[" + strings.Join(quoted(values), ", ") + "]"
	case reflect.Map:
		for i, v := range values {
			key, value, _ := strings.Cut(v, "=")
			values[i] = strings.Join(quoted([]string{key, value}), ": ")
		}
		return "{" + strings.Join(values, ", ") + "}"
	}
	return values[len(values)-1]
}

// quoted puts words into YAML's double quotes.
func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
	}
	return out
}

// settingFlag is the flag of one setting.
type settingFlag struct {
	setting
	wishes *wishes
}

var _ pflag.Value = (*settingFlag)(nil)

// Set takes one value. A comma separates values of a list.
func (f *settingFlag) Set(value string) error {
	values := []string{value}
	if f.typ.Kind() == reflect.Slice && f.path != "init.command" {
		values = strings.Split(value, ",")
	}
	for _, v := range values {
		f.wishes.list = append(f.wishes.list, wish{f.path, v})
	}
	return nil
}

// String gives nothing: a setting that was not asked for has its default.
func (f *settingFlag) String() string { return "" }

// Type names the value.
func (f *settingFlag) Type() string { return "value" }
