// Package settings is the language of spec files. It reads their text strictly, with
// the place of every problem; writes it with comments; changes single values in it
// with comments and layout kept; and describes it as JSON schema and as manual.
//
// The keys, their types, defaults and descriptions are the fields and tags of
// guest.Spec. Everything here walks these types, so there is no second list of keys.
package settings

import (
	"fmt"
	"slices"
	"strings"

	"vserver/guest"
)

// Problem is one thing that is wrong with a spec file, and where.
type Problem struct {
	File         string // "" when the text is in none
	Line, Column int    // from 1; Column counts characters; 0 when it is in no text
	Path         string // the key, as network.addresses[1]; "" when the text is no YAML
	Err          error
}

// Error gives "file:line:column: key: cause".
func (p Problem) Error() string {
	text := ""
	switch {
	case p.File != "":
		text = fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	case p.Line > 0:
		text = fmt.Sprintf("line %d: ", p.Line)
	}
	if p.Path != "" {
		text += p.Path + ": "
	}
	return text + strings.TrimSuffix(p.Err.Error(), ": "+guest.ErrInvalid.Error())
}

// wrong is a problem that is not in a file.
func wrong(path, format string, args ...any) error {
	return Problem{Path: path, Err: fmt.Errorf(format+": %w", append(args, guest.ErrInvalid)...)}
}

// Unwrap returns the cause.
func (p Problem) Unwrap() error { return p.Err }

// Problems are all that is wrong with a spec file, in the order of the file. They
// are guest.ErrInvalid.
type Problems []Problem

// shown bounds what is printed of a file that is no spec at all.
const shown = 20

// Error gives one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, 0, shown)
	for i, p := range ps {
		if i == shown {
			lines = append(lines, fmt.Sprintf("%s: and %d more", p.File, len(ps)-shown))
			break
		}
		lines = append(lines, p.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Is makes all problems guest.ErrInvalid.
func (ps Problems) Is(target error) bool { return target == guest.ErrInvalid }

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}
