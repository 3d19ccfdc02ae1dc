// Package patch changes single values in a YAML text and leaves the rest as it is:
// comments, order, quotes, indentation. It knows nothing of what the text means.
//
// Texts are mappings of mappings of values and lists of values. What is written in
// a way that it does not understand is ErrLayout and never a wrong edit of that
// place; a caller who can compare the meaning of the two texts should do so all the
// same.
package patch

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ErrLayout is a text that means what it should, but is written so that this place
// cannot be changed alone.
var ErrLayout = errors.New("is written in a way that cannot be changed in place")

// Docs are comments that describe keys, by their path with dots. A key that is put
// in gets its own above it, and takes it along when it is cut. All other comments
// stay.
type Docs map[string]string

func (d Docs) of(steps []string) string { return d[strings.Join(steps, ".")] }

func (d Docs) has(comment string) bool {
	for _, doc := range d {
		if doc == comment {
			return true
		}
	}
	return false
}

// Put sets the value at the end of steps, making the mappings that lead there. value
// is YAML on one line.
func Put(text []byte, steps []string, value string, docs Docs) ([]byte, error) {
	l, err := lay(text)
	if err != nil {
		return nil, err
	}
	e := &editor{text: text, docs: docs}
	if p := l.find(steps); p.value != nil && len(p.keys) == len(steps) {
		err = e.replace(l, p, value)
	} else {
		err = e.insert(l, p, steps, value)
	}
	return e.text, err
}

// Cut takes the key at the end of steps out, and the mappings that it leaves empty.
// A key that is not there is no error.
func Cut(text []byte, steps []string, docs Docs) ([]byte, error) {
	l, err := lay(text)
	if err != nil {
		return nil, err
	}
	e := &editor{text: text, docs: docs}
	if p := l.find(steps); len(p.keys) == len(steps) {
		err = e.remove(l, p, steps)
	}
	return e.text, err
}

type editor struct {
	text []byte
	docs Docs
}

// splice replaces a piece of the text.
func (e *editor) splice(from, to int, with string) {
	e.text = slices.Concat(e.text[:from], []byte(with), e.text[to:])
}

// place is where a key stands in the text: the mappings that lead to it, and the
// key and its value in the last one, nil when they are not there.
type place struct {
	maps  []*yaml.Node // maps[i] is what steps[i] is looked up in
	keys  []*yaml.Node // keys[i] is the key for steps[i]
	value *yaml.Node
}

func (l *layout) find(steps []string) place {
	var p place
	n := l.root
	for _, step := range steps {
		if n == nil || n.Kind != yaml.MappingNode {
			break
		}
		p.maps, p.value = append(p.maps, n), nil
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				p.keys, p.value = append(p.keys, n.Content[i]), n.Content[i+1]
				break
			}
		}
		if p.value == nil {
			break
		}
		n = p.value
	}
	return p
}

// replace gives a key that is there another value.
func (e *editor) replace(l *layout, p place, text string) error {
	key := p.keys[len(p.keys)-1]
	colon, err := l.colon(key)
	if err != nil {
		return err
	}
	if void(p.value) {
		e.splice(colon, colon, " "+text)
		return nil
	}
	from := l.start(p.value)
	end, err := l.end(p.value)
	if err != nil {
		return err
	}
	if l.lineStart(from) == l.lineStart(l.start(key)) && !bytes.Contains(l.text[from:end], []byte("\n")) {
		e.splice(from, end, text)
		return nil
	}
	// A value over several lines becomes one; comments within go above the key.
	comments, err := l.comments(colon, end)
	if err != nil {
		return err
	}
	e.splice(colon, end, " "+text)
	e.above(l, key, comments)
	return nil
}

// above puts comments on lines of their own above a key. Everything before the
// key's line must still be as l saw it.
func (e *editor) above(l *layout, key *yaml.Node, comments []string) {
	at := l.lineStart(l.start(key))
	e.splice(at, at, commentLines(comments, strings.Repeat(" ", key.Column-1)))
}

func commentLines(comments []string, pad string) string {
	var lines strings.Builder
	for _, c := range comments {
		lines.WriteString(pad + c + "\n")
	}
	return lines.String()
}

// insert writes a key that is not there, with the sections that lead to it.
func (e *editor) insert(l *layout, p place, steps []string, text string) error {
	have := len(p.keys) // so many of the steps are there
	if have == len(p.maps) {
		// The last of them has no mapping yet.
		if have > 0 {
			return e.insertFirst(l, p, steps, text)
		}
		if l.root != nil {
			return ErrLayout
		}
		if len(e.text) > 0 && !bytes.HasSuffix(e.text, []byte("\n")) {
			e.text = append(slices.Clip(e.text), '\n')
		}
		e.text = append(slices.Clip(e.text), e.block(steps, 0, 0, 2, text)...)
		return nil
	}
	m := p.maps[have]
	if m.Style&yaml.FlowStyle != 0 {
		return e.insertFlow(l, m, flowEntry(steps[have:], text))
	}
	indent := m.Content[0].Column - 1
	at, err := l.lastEnd(m)
	if err != nil {
		return err
	}
	e.insertLines(l, at, indent, e.block(steps, have, indent, l.step(), text))
	return nil
}

// insertFirst writes the first key of a section that has none.
func (e *editor) insertFirst(l *layout, p place, steps []string, text string) error {
	have := len(p.keys)
	key := p.keys[have-1]
	switch flow := p.maps[have-1].Style&yaml.FlowStyle != 0; {
	case p.value.Tag != "!!null" || p.value.Anchor != "":
		return ErrLayout
	case flow || !void(p.value):
		return e.replace(l, p, "{"+flowEntry(steps[have:], text)+"}")
	}
	colon, err := l.colon(key)
	if err != nil {
		return err
	}
	indent := key.Column - 1
	e.insertLines(l, colon, indent, e.block(steps, have, indent+l.step(), l.step(), text))
	return nil
}

// insertLines puts lines below the line of at, and below the comments that follow it
// deeper than indent: they belong to what is there.
func (e *editor) insertLines(l *layout, at, indent int, lines string) {
	at = l.next(at)
	for next := at; next < len(l.text); next = l.next(next) {
		line := strings.TrimRight(string(l.text[next:l.lineEnd(next)]), " \t\r")
		bare := strings.TrimLeft(line, " ")
		if bare != "" && (bare[0] != '#' || len(line)-len(bare) <= indent) {
			break
		}
		if bare != "" {
			at = l.next(next)
		}
	}
	if at > 0 && l.text[at-1] != '\n' {
		lines = "\n" + lines
	}
	e.splice(at, at, lines)
}

// block gives the lines of a key, with the sections from step have on.
func (e *editor) block(steps []string, have, indent, step int, text string) string {
	var b strings.Builder
	for i := have; i < len(steps); i++ {
		pad := strings.Repeat(" ", indent+(i-have)*step)
		if doc := e.docs.of(steps[:i+1]); doc != "" {
			if i == 0 {
				b.WriteByte('\n')
			}
			b.WriteString(pad + doc + "\n")
		}
		b.WriteString(pad + Quote(steps[i], true) + ":")
		if i == len(steps)-1 {
			b.WriteString(" " + text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func flowEntry(steps []string, text string) string {
	for i := len(steps) - 1; i > 0; i-- {
		text = "{" + Quote(steps[i], true) + ": " + text + "}"
	}
	return Quote(steps[0], true) + ": " + text
}

// step is how deep the file indents.
func (l *layout) step() int {
	if l.root != nil && l.root.Kind == yaml.MappingNode && l.root.Style&yaml.FlowStyle == 0 {
		for _, n := range l.root.Content {
			if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0 {
				return max(n.Content[0].Column-l.root.Content[0].Column, 1)
			}
		}
	}
	return 2
}

// remove takes a key away, and the sections that it leaves empty.
func (e *editor) remove(l *layout, p place, steps []string) error {
	last := len(p.keys) - 1
	m, key := p.maps[last], p.keys[last]
	end, err := l.end(p.value)
	if void(p.value) {
		end, err = l.colon(key)
	}
	if err != nil {
		return err
	}
	from := l.start(key)
	if m.Style&yaml.FlowStyle != 0 {
		return e.cutFlow(l, m, from, end)
	}
	comments, err := l.comments(from, l.lineEnd(end))
	if err != nil {
		return err
	}
	comments = slices.DeleteFunc(comments, e.docs.has)
	if len(m.Content) == 2 && last > 0 && len(comments) == 0 && !l.commented(p.keys[last-1], m, e.docs) {
		return e.remove(l, place{maps: p.maps[:last], keys: p.keys[:last], value: m}, steps[:last])
	}
	pad := strings.Repeat(" ", key.Column-1)
	e.splice(e.cutFrom(l, from, steps), l.next(end), commentLines(comments, pad))
	return nil
}

// commented tells whether there is a comment between a section's key and the end of
// the deeper comments below it, other than descriptions.
func (l *layout) commented(key, section *yaml.Node, docs Docs) bool {
	end, err := l.lastEnd(section)
	if err != nil {
		return true
	}
	for next := l.next(end); next < len(l.text); next = l.next(next) {
		bare := bytes.TrimLeft(l.text[next:l.lineEnd(next)], " ")
		if len(bare) == 0 || bare[0] != '#' || l.lineEnd(next)-next-len(bare) < key.Column {
			break
		}
		end = l.lineEnd(next)
	}
	comments, err := l.comments(l.start(key), l.lineEnd(end))
	return err != nil || len(slices.DeleteFunc(comments, docs.has)) > 0
}

// cutFrom is where the lines of a key begin: with the description above it, if it is
// ours, and the blank line before that.
func (e *editor) cutFrom(l *layout, at int, steps []string) int {
	at = l.lineStart(at)
	doc := e.docs.of(steps)
	if at == 0 || doc == "" {
		return at
	}
	above := l.lineStart(at - 1)
	if strings.TrimSpace(string(l.text[above:at])) != doc {
		return at
	}
	if above > 0 && above-l.lineStart(above-1) == 1 {
		return above - 1
	}
	return above
}
