package identity

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"vserver/layer"
)

// logins has the inits that read an inittab (sysvinit, busybox's) offer a login at the
// console, which is the one terminal that a guest has. Those at virtual consoles and
// serial lines would end at once and be begun again for ever.
func logins(r *layer.Root) error {
	old, err := read(r, "etc/inittab")
	if err != nil || old == "" {
		return err
	}
	return rewrite(r, "etc/inittab", old, atConsole(old), 0o644)
}

// atConsole moves the first login of an inittab to the console and switches the others
// off.
func atConsole(text string) string {
	lines := strings.Split(text, "\n")
	done := slices.ContainsFunc(lines, func(l string) bool { return lineOf(l) == "console" })
	for i, l := range lines {
		tty := lineOf(l)
		switch {
		case tty == "" || tty == "console":
		case done:
			lines[i] = "#" + l
		default:
			f := strings.SplitN(l, ":", 4)
			if f[0] == tty { // busybox: the first field is the terminal
				f[0] = "console"
			}
			words := strings.Fields(f[3])
			words[slices.Index(words, tty)] = "console"
			lines[i], done = strings.Join(append(f[:3], strings.Join(words, " ")), ":"), true
		}
	}
	return strings.Join(lines, "\n")
}

// lineOf gives the terminal at which a line of an inittab offers a login, or "".
func lineOf(line string) string {
	f := strings.SplitN(line, ":", 4)
	if len(f) < 4 || strings.HasPrefix(strings.TrimSpace(line), "#") || f[2] != "respawn" && f[2] != "askfirst" {
		return ""
	}
	words := strings.Fields(f[3])
	if len(words) == 0 || !strings.HasSuffix(path.Base(words[0]), "getty") {
		return ""
	}
	terminal := regexp.MustCompile(`^(console|tty([0-9]+|S[0-9]+|AMA[0-9]+))$`)
	for _, w := range words[1:] {
		if terminal.MatchString(w) {
			return w
		}
	}
	return ""
}
