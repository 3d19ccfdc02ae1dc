package identity

import (
	"strings"

	"vserver/kernel/file"
	"vserver/layer"
)

// What stands around the lines of a hosts file that are ours. Whoever does not want
// them writes namesOff anywhere in the file.
const (
	namesBegin = "# vserver: guests of this host, kept up to date"
	namesEnd   = "# vserver: end"
	namesOff   = "# vserver: no names"
)

// ApplyNames puts lines, "ADDRESS NAME...", into the hosts file of a guest in the place
// of those that were put there before. The rest stays. A guest without a hosts file, or
// with something odd in its place, is left alone.
func ApplyNames(r *layer.Root, lines []string) error {
	b, err := r.Read("etc/hosts", maxFile)
	if notThere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	text := names(string(b), lines)
	if text == string(b) {
		return nil
	}
	st, err := r.Stat("etc/hosts")
	if err != nil {
		st = file.Stat{Mode: 0o644}
	}
	return r.Write("etc/hosts", []byte(text), st.Perm(), st.UID, st.GID)
}

// names edits a hosts file.
func names(text string, lines []string) string {
	var out []string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch strings.TrimSpace(line) {
		case namesOff:
			return text
		case namesBegin:
			inside = true
			continue
		case namesEnd:
			inside = false
			continue
		}
		if !inside {
			out = append(out, line)
		}
	}
	if len(lines) > 0 {
		out = append(append(append(out, namesBegin), lines...), namesEnd)
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, "\n") + "\n"
}
