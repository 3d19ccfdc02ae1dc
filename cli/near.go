package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"vserver/guest"
)

// likely gives the verb that was most likely meant by a word that is none, "" when none is
// near: one by another name that containers, jails and machines have for it, or by a slip.
func likely(word string) string {
	for verb, others := range map[string][]string{
		"create":  {"run", "new", "launch", "init", "bootstrap"},
		"console": {"attach"},
		"delete":  {"rm", "remove", "destroy"},
		"events":  {"monitor", "watch"},
		"enter":   {"shell", "login", "ssh", "sh", "bash", "jexec", "chroot"},
		"info":    {"inspect", "show", "describe"},
		"list":    {"ls", "jls"},
		"logs":    {"log", "journal"},
		"rename":  {"mv", "move"},
		"restart": {"reboot"},
		"stop":    {"halt", "poweroff", "shutdown", "down"},
		"start":   {"up", "boot"},
	} {
		if slices.Contains(others, word) {
			return verb
		}
	}
	return guest.Nearest(word, guest.Verbs)
}

// likelyOption gives the option of a verb that was most likely meant by the unknown one that
// err tells of, "" when none is near: one that begins so, or by a slip.
func likelyOption(err error, flags *pflag.FlagSet) string {
	var bad *pflag.NotExistError
	if !errors.As(err, &bad) || bad.GetSpecifiedShortnames() != "" {
		return ""
	}
	word := bad.GetSpecifiedName()
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	near := guest.Nearest(word, names)
	if i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, word) }); i >= 0 {
		near = names[i]
	}
	if near != "" {
		near = "--" + near
	}
	return near
}
