package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"vserver/guest"
)

// MaxSize bounds a spec file; an ordinary one has less than 2 KiB.
const MaxSize = 1 << 20

// Parse reads the text of a spec and checks it. What the text does not say stays
// zero. Errors are Problems: all that was found, each with its line and column. file
// is named in them; its base name without ".yaml" is the guest's.
func Parse(file string, text []byte) (*guest.Spec, error) {
	root, p := tree(file, text)
	if p != nil {
		return nil, Problems{*p}
	}
	spec := new(guest.Spec)
	d := decode(root, spec)
	wrong := spec.Validate()
	self := guest.Name(strings.TrimSuffix(filepath.Base(file), ".yaml"))
	if i := slices.Index(spec.Boot.Depends, self); i >= 0 {
		wrong = append(wrong, guest.Problem{Path: fmt.Sprintf("boot.depends[%d]", i),
			Err: fmt.Errorf("a guest cannot depend on itself: %w", guest.ErrInvalid)})
	}
	for _, p := range wrong {
		if !d.covers(p.Path) {
			line, column := locate(root, p.Path)
			d.problems = append(d.problems, Problem{Line: line, Column: column, Path: p.Path, Err: p.Err})
		}
	}
	if len(d.problems) == 0 {
		return spec, nil
	}
	for i := range d.problems {
		d.problems[i].File = file
	}
	d.problems.sort()
	return nil, d.problems
}

// At makes a Problem of an error about a key of a text that has been parsed.
func At(file string, text []byte, path string, err error) Problem {
	root, _ := tree(file, text)
	p := Problem{File: file, Path: path, Err: err}
	p.Line, p.Column = locate(root, path)
	return p
}

// tree reads the one YAML document of the text. root is nil when the text says
// nothing at all.
func tree(file string, text []byte) (root *yaml.Node, p *Problem) {
	if len(text) > MaxSize {
		return nil, &Problem{File: file, Line: 1, Column: 1,
			Err: fmt.Errorf("%d bytes: want at most %d: %w", len(text), MaxSize, guest.ErrInvalid)}
	}
	if p := plainText(file, text); p != nil {
		return nil, p
	}
	defer func() {
		// The YAML library tells its own bugs by panics. A file must not end us.
		if r := recover(); r != nil {
			root, p = nil, &Problem{File: file, Line: 1, Column: 1, Err: fmt.Errorf("%v: %w", r, guest.ErrInvalid)}
		}
	}()
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		if err = dec.Decode(&more); err == nil {
			return nil, &Problem{File: file, Line: more.Line, Column: more.Column,
				Err: fmt.Errorf("a second document begins; want one: %w", guest.ErrInvalid)}
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, syntax(file, text, err)
	}
	return doc.Content[0], nil
}

// syntax makes a problem of a complaint of the YAML library, which names the line
// at best ("yaml: line 3: did not find expected key").
func syntax(file string, text []byte, err error) *Problem {
	p := &Problem{File: file, Line: 1, Column: 1}
	why := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(why, "line "); ok {
		if at, rest, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(at); err == nil {
				p.Line, why = n, rest
			}
		}
	}
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if at := bytes.IndexByte(indent, '\t'); at >= 0 && len(indent) < len(line) {
			p.Line, p.Column = i+1, at+1
			p.Err = fmt.Errorf("a tab cannot indent; use spaces: %w", guest.ErrInvalid)
			return p
		}
	}
	p.Line = min(max(p.Line, 1), len(lines))
	line := lines[p.Line-1]
	p.Column = 1 + len(line) - len(bytes.TrimLeft(line, " "))
	p.Err = fmt.Errorf("%s: %w", why, guest.ErrInvalid)
	return p
}

// plainText refuses what an editor would not show as it is: bytes that are not
// UTF-8, control characters, line ends other than those of Unix and DOS, and the
// characters that turn the direction of writing, by which a file can read otherwise
// than it is. The YAML library also counts lines otherwise over some of them.
func plainText(file string, text []byte) *Problem {
	line, start := 1, 0
	for i := 0; i < len(text); {
		c := text[i]
		if c == '\n' {
			line, start = line+1, i+1
		}
		if c >= ' ' && c < 0x7f || c == '\n' || c == '\t' || c == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r == 0xfeff && i == 0 || r > 0x9f && !(r == utf8.RuneError && n == 1) && !hidden(r) {
			i += n
			continue
		}
		p := &Problem{File: file, Line: line, Column: 1 + utf8.RuneCount(text[start:i])}
		p.Err = fmt.Errorf("the character %U has no place in a spec: %w", r, guest.ErrInvalid)
		if r == utf8.RuneError && n == 1 {
			p.Err = fmt.Errorf("the byte %#x is not UTF-8: %w", c, guest.ErrInvalid)
		}
		return p
	}
	return nil
}

func hidden(r rune) bool {
	return r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 ||
		r == 0xfeff || r >= 0xfffe && r <= 0xffff || r > 0x10ffff
}

// locate gives the place of a key in the text: of its value, or of the nearest
// section when the key is not there.
func locate(n *yaml.Node, path string) (line, column int) {
	line, column = 1, 1
	for n != nil && path != "" {
		key, value, rest := child(n, path)
		if value == nil {
			return line, column
		}
		line, column = value.Line, value.Column
		if rest != "" && value.Kind != yaml.ScalarNode && key != nil {
			line, column = key.Line, key.Column
		}
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		n, path = value, rest
	}
	return line, column
}

// child finds the node that path leads to from n; rest is what path goes on with.
func child(n *yaml.Node, path string) (key, value *yaml.Node, rest string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			rest, ok := strings.CutPrefix(path, n.Content[i].Value)
			if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				return n.Content[i], n.Content[i+1], strings.TrimPrefix(rest, ".")
			}
		}
	case yaml.SequenceNode:
		if at, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]"); ok {
			if i, err := strconv.Atoi(at); err == nil && i >= 0 && i < len(n.Content) {
				return nil, n.Content[i], strings.TrimPrefix(rest, ".")
			}
		}
	}
	return nil, nil, ""
}

// covers tells whether the decoder has complained of the key itself already, so
// that a second complaint over the missing value would only confuse.
func (d *decoder) covers(path string) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool {
		return p.Path == path || strings.HasPrefix(path, p.Path+".") || strings.HasPrefix(p.Path, path+"[")
	})
}
