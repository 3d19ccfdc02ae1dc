package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"vserver/guest"
	"vserver/store"
	"vserver/store/legacy"
)

// presetOptions takes the options of /etc/vservers/.defaults/apps/build/options for those
// that were not given, as util-vserver did unless NO_DEFAULT_OPTS is set. The outcome is the words
// that go on: args, or those of the file behind its "--".
func (t *tool) presetOptions(fl *pflag.FlagSet, args []string) ([]string, error) {
	const file = "apps/build/options"
	if os.Getenv("NO_DEFAULT_OPTS") != "" {
		return args, nil
	}
	text, err := store.Preset(t.host.Dirs, file)
	if err != nil || text == "" {
		return args, err
	}
	var words []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			words = append(words, strings.Fields(line)...)
		}
	}
	var method []string
	if i := slices.Index(words, "--"); i >= 0 {
		words, method = words[:i], words[i+1:]
	}
	given := map[string]bool{}
	fl.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	err = fl.ParseAll(words, func(f *pflag.Flag, value string) error {
		if given[f.Name] {
			return nil
		}
		return fl.Set(f.Name, value)
	})
	if err == nil && fl.NArg() > 0 {
		err = usagef("%s: no option", fl.Arg(0))
	}
	if err != nil {
		return nil, usagef("%s: %v", filepath.Join(t.host.Dirs.Config, ".defaults", file), err)
	}
	name := 1
	if t.subject != "" {
		name = 0
	}
	if len(args) <= name {
		args = slices.Concat(args, method)
	}
	return args, nil
}

// presetMounts gives a new guest the mounts of /etc/vservers/.defaults/fstab.
func (t *tool) presetMounts(spec *guest.Spec) error {
	text, err := store.Preset(t.host.Dirs, "fstab")
	if err != nil {
		return err
	}
	mounts, wrong := legacy.Fstab(text)
	if len(wrong) > 0 {
		wrong[0].File = filepath.Join(t.host.Dirs.Config, ".defaults", wrong[0].File)
		return wrong[0]
	}
	for _, m := range mounts {
		if !slices.ContainsFunc(spec.Mounts, func(own guest.Mount) bool { return own.Target == m.Target }) {
			spec.Mounts = append(spec.Mounts, m)
		}
	}
	return nil
}

// presetDebootstrap takes of .distributions and .defaults what nobody says of an installation
// by debootstrap: where the suite comes from, by which script, and further options.
func (t *tool) presetDebootstrap(f *buildFlags) error {
	for _, p := range []struct {
		name string
		to   *string
	}{{"mirror", &f.mirror}, {"script", &f.old.script}} {
		if *p.to != "" {
			continue
		}
		_, text, err := t.presetOf(f.debian, p.name)
		if err != nil {
			return err
		}
		*p.to = text
	}
	file, text, err := t.presetOf(f.debian, "options")
	if err != nil || text == "" {
		return err
	}
	own := *f
	own.method = "debootstrap"
	if err := own.further(strings.Fields(text)); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if f.variant == "" {
		f.variant = own.variant
	}
	f.packages = own.packages
	return nil
}

// presetOf is what a suite has for debootstrap, or else the host, and its file.
func (t *tool) presetOf(suite, name string) (file, text string, err error) {
	for _, key := range []string{".distributions/" + suite + "/debootstrap." + name, ".defaults/apps/debootstrap/" + name} {
		text, err := store.Preset(t.host.Dirs, "../"+key)
		if text = strings.TrimSpace(text); err != nil || text != "" {
			return filepath.Join(t.host.Dirs.Config, key), text, err
		}
	}
	return "", "", nil
}
