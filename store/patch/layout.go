package patch

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// layout knows where in a text each node begins and ends. The YAML library tells
// only where a node begins; the end is found by reading the node again, which needs
// no more than its style and its value: a quoted scalar ends at its quote, a plain
// one when as many letters as its value has were seen, a list at its bracket or
// after its last item.
type layout struct {
	text  []byte
	lines []int // offset of each line
	root  *yaml.Node
}

// lay reads the text. The root is nil when it says nothing.
func lay(text []byte) (*layout, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	l := &layout{text: text, lines: []int{0}}
	if len(doc.Content) > 0 && !void(doc.Content[0]) {
		l.root = doc.Content[0]
	}
	for i, c := range text {
		if c == '\n' {
			l.lines = append(l.lines, i+1)
		}
	}
	return l, nil
}

// start is the offset of a node. A node without any text has none.
func (l *layout) start(n *yaml.Node) int {
	if n.Line < 1 || n.Line > len(l.lines) {
		return len(l.text)
	}
	at := l.lines[n.Line-1]
	if n.Line == 1 && bytes.HasPrefix(l.text, []byte("\ufeff")) {
		at += len("\ufeff")
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(l.text[at:])
		at += size
	}
	return at
}

// void tells whether a node has no text: the value of a key that stands alone.
func void(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == "" && n.Anchor == "" && n.Style == 0
}

// colon is the offset behind the ':' of a key.
func (l *layout) colon(key *yaml.Node) (int, error) {
	at, err := l.end(key)
	if err != nil {
		return 0, err
	}
	for at < len(l.text) && l.text[at] == ' ' {
		at++
	}
	if at == len(l.text) || l.text[at] != ':' {
		return 0, ErrLayout
	}
	return at + 1, nil
}

// end is the offset behind a node.
func (l *layout) end(n *yaml.Node) (int, error) {
	at := l.start(n)
	for at < len(l.text) && (l.text[at] == '&' || l.text[at] == '!') { // anchor, tag
		at = l.skip(at, func(c byte) bool { return c != ' ' && c != '\n' })
		at = l.skip(at, func(c byte) bool { return c == ' ' || c == '\n' || c == '\r' })
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return at + 1 + len(n.Value), nil
	case n.Kind == yaml.ScalarNode:
		return l.scalarEnd(n, at)
	case n.Style&yaml.FlowStyle != 0:
		return l.flowEnd(n, at)
	case len(n.Content) == 0:
		return 0, ErrLayout
	}
	return l.lastEnd(n)
}

// lastEnd is the offset behind the last thing in a list or mapping.
func (l *layout) lastEnd(n *yaml.Node) (int, error) {
	last := n.Content[len(n.Content)-1]
	if n.Kind == yaml.MappingNode && void(last) {
		return l.colon(n.Content[len(n.Content)-2])
	}
	return l.end(last)
}

func (l *layout) skip(at int, while func(byte) bool) int {
	for at < len(l.text) && while(l.text[at]) {
		at++
	}
	return at
}

func (l *layout) scalarEnd(n *yaml.Node, at int) (int, error) {
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for at++; at < len(l.text); at++ {
			switch l.text[at] {
			case '\\':
				at++
			case '"':
				return at + 1, nil
			}
		}
		return 0, ErrLayout
	case n.Style&yaml.SingleQuotedStyle != 0:
		for at++; at < len(l.text); at++ {
			if l.text[at] == '\'' {
				if at+1 == len(l.text) || l.text[at+1] != '\'' {
					return at + 1, nil
				}
				at++
			}
		}
		return 0, ErrLayout
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return l.blockEnd(n, at)
	}
	for _, r := range n.Value {
		if r == ' ' || r == '\n' || r == '\t' {
			continue
		}
		at = l.skip(at, func(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' })
		if got, size := utf8.DecodeRune(l.text[at:]); got == r {
			at += size
			continue
		}
		return 0, ErrLayout
	}
	return at, nil
}

// blockEnd is the end of the text of a | or > scalar: all lines as deep as the first.
func (l *layout) blockEnd(n *yaml.Node, at int) (int, error) {
	header := l.lineEnd(at)
	if bytes.ContainsAny(l.text[at:header], "#123456789") {
		return 0, ErrLayout
	}
	if strings.TrimSpace(n.Value) == "" {
		return header, nil
	}
	end, deep := header, 0
	for line := l.next(header); line < len(l.text); line = l.next(line) {
		bare := l.skip(line, func(c byte) bool { return c == ' ' })
		if bare == len(l.text) || l.text[bare] == '\n' || l.text[bare] == '\r' {
			continue
		}
		if deep == 0 {
			deep = bare - line
		}
		if bare-line < deep {
			break
		}
		end = l.lineEnd(line)
	}
	return end, nil
}

func (l *layout) flowEnd(n *yaml.Node, at int) (int, error) {
	closing := map[yaml.Kind]string{yaml.SequenceNode: "[]", yaml.MappingNode: "{}"}[n.Kind]
	if closing == "" || at >= len(l.text) || l.text[at] != closing[0] {
		return 0, ErrLayout
	}
	at++
	if len(n.Content) > 0 {
		var err error
		if at, err = l.lastEnd(n); err != nil {
			return 0, err
		}
	}
	for at < len(l.text) {
		switch c := l.text[at]; {
		case c == closing[1]:
			return at + 1, nil
		case c == '#':
			at = l.lineEnd(at)
		case strings.IndexByte(" \t\r\n,", c) >= 0:
			at++
		default:
			return 0, ErrLayout
		}
	}
	return 0, ErrLayout
}

// lineStart is the offset of the line that at is in, lineEnd that of the newline
// which ends it (or the end of the text).
func (l *layout) lineStart(at int) int { return bytes.LastIndexByte(l.text[:at], '\n') + 1 }

func (l *layout) lineEnd(at int) int {
	if i := bytes.IndexByte(l.text[at:], '\n'); i >= 0 {
		return at + i
	}
	return len(l.text)
}

// next is the offset of the line behind the one that at is in.
func (l *layout) next(at int) int { return min(l.lineEnd(at)+1, len(l.text)) }

// comments gives the comments between two offsets, each from its '#' to the end of
// its line.
func (l *layout) comments(from, to int) ([]string, error) {
	inside, err := l.scalars(l.root)
	if err != nil {
		return nil, err
	}
	var found []string
	for at := from; at < to; at++ {
		for len(inside) > 0 && inside[0].to <= at {
			inside = inside[1:]
		}
		if len(inside) > 0 && inside[0].from <= at {
			at = inside[0].to - 1
			continue
		}
		if l.text[at] == '#' && (at == 0 || strings.IndexByte(" \t\n", l.text[at-1]) >= 0) {
			end := l.lineEnd(at)
			found = append(found, strings.TrimRight(string(l.text[at:end]), "\r"))
			at = end
		}
	}
	return found, nil
}

type span struct{ from, to int }

// scalars gives the places of all scalars below n, in the order of the text.
func (l *layout) scalars(n *yaml.Node) ([]span, error) {
	if n == nil || void(n) {
		return nil, nil
	}
	if n.Kind == yaml.ScalarNode {
		end, err := l.end(n)
		return []span{{l.start(n), end}}, err
	}
	var all []span
	for _, c := range n.Content {
		s, err := l.scalars(c)
		if err != nil {
			return nil, err
		}
		all = append(all, s...)
	}
	return all, nil
}
