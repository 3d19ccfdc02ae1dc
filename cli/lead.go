package cli

import (
	"errors"
	"slices"
	"strings"

	"vserver/fault"
)

// ofOld has the options of the old shell script that stood in front of a guest's name by
// the words of today. Most of them asked for what is always so: a stop waits, a failure
// names its step, what a guest prints is kept.
func ofOld(args []string) ([]string, error) {
	n := slices.IndexFunc(args, func(s string) bool { return !strings.HasPrefix(s, "-") })
	if n <= 0 {
		return args, nil
	}
	var lead []string
	for _, o := range args[:n] {
		switch o {
		case "----insecure":
			lead = append(lead, "--stopped")
		case "-s", "--sync", "-v", "--verbose", "--debug", "----nonamespace", "--":
		case "--defaulttty":
			if slices.ContainsFunc(args[n:min(n+2, len(args))], func(s string) bool {
				return slices.Contains([]string{"start", "restart", "condrestart"}, s)
			}) {
				lead = append(lead, o)
			}
		case "--silent":
			if slices.Contains(args[n:min(n+2, len(args))], "delete") { // no question
				lead = append(lead, o)
			}
		case "--strace":
			return nil, without(o, "`vserver start --dry-run NAME` shows the steps")
		case "--debug-sysv":
			return nil, without(o, "`vserver NAME exec /bin/bash -x /etc/init.d/rc 3`")
		default:
			lead = append(lead, o)
		}
	}
	return append(lead, args[n:]...), nil
}

// without refuses what a shell script could do, and says what comes nearest.
func without(option, hint string) error {
	return coded{fault.Hint(errors.New(option+": no shell script starts guests any more"), hint), exitUnsupported}
}
