package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/store/legacy"
	"vserver/store/settings"
)

// explanation is what becomes of a guest's directory of Linux-VServer's. The JSON names
// are an interface.
type explanation struct {
	Name     guest.Name       `json:"name"`
	Findings []legacy.Finding `json:"findings"`
	Counts   map[string]int   `json:"counts"`
}

// explain tells what becomes of each file.
func (t *tool) explain(args []string) error {
	n, err := t.single(args)
	if err != nil {
		return err
	}
	g, err := host.Explain(t.host, n)
	if errors.Is(err, guest.ErrNotFound) && host.Exists(t.host, n) {
		return fault.New(string(n), "config", fault.Hint(errors.New("--explain: it has a spec, and no directory of Linux-VServer's"),
			"vserver "+string(n)+" config"))
	}
	if err != nil {
		return t.about(n, err)
	}
	if t.json {
		return writeJSON(t.out, explanation{n, g.Findings, counts(g.Findings)})
	}
	return findings(t.out, g.Findings, &g.Spec)
}

func counts(list []legacy.Finding) map[string]int {
	out := map[string]int{}
	for _, f := range list {
		out[string(f.Fate)]++
	}
	return out
}

// findings prints a line for each file, and below it the reason and the alternative.
func findings(w io.Writer, list []legacy.Finding, spec *guest.Spec) error {
	width := 0
	for _, f := range list {
		width = max(width, min(len(f.Key), 36))
	}
	var b strings.Builder
	for _, f := range list {
		line := fmt.Sprintf("%-8s %-*s  %s", f.Fate, width, f.Key, f.Value)
		if f.To != "" && f.Fate != legacy.Wrong {
			line += "  -> " + said(spec, f.To)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		for _, more := range []string{f.Why, f.Instead} {
			if more != "" && more == f.Instead {
				more = "instead: " + more
			}
			if more != "" {
				b.WriteString("         " + strings.Repeat(" ", 2) + more + "\n")
			}
		}
	}
	c := counts(list)
	var sum []string
	for _, fate := range []legacy.Fate{legacy.Same, legacy.Near, legacy.Passed, legacy.Refused, legacy.Unknown, legacy.Wrong} {
		if c[string(fate)] > 0 {
			sum = append(sum, fmt.Sprintf("%d %s", c[string(fate)], fate))
		}
	}
	b.WriteString(strings.Join(sum, ", ") + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// said is a key of the spec with its value, if that is a short one.
func said(spec *guest.Spec, key string) string {
	value, err := settings.Get(spec, key)
	value = strings.TrimPrefix(value, "- ")
	const short = 40
	if err != nil || value == "" || len(value) > short || strings.Contains(value, "\n") {
		return key
	}
	return key + ": " + value
}
