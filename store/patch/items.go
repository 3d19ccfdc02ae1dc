package patch

import (
	"bytes"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxMerge bounds the lists that are changed item by item, each time reading the
// text again.
const maxMerge = 64

// Merge turns the list at the end of steps into another by cutting and putting in
// single items, so that those that stay keep their lines and comments. old and want
// are the items as they compare, written the wanted ones as YAML.
func Merge(text []byte, steps, old, want, written []string, docs Docs) ([]byte, error) {
	keep := common(old, want)
	stays := func(i int) bool { return i >= 0 }
	l, err := lay(text)
	if err != nil {
		return nil, err
	}
	list := l.find(steps).list(steps)
	if list == nil || len(list.Content) != len(old) || !slices.ContainsFunc(keep, stays) || len(old)+len(want) > maxMerge {
		return Put(text, steps, "["+strings.Join(written, ", ")+"]", docs)
	}
	e := &editor{text: text}
	for i := len(old) - 1; i >= 0; i-- {
		if keep[i] < 0 {
			if err := e.cutItem(steps, i); err != nil {
				return nil, err
			}
		}
	}
	for i := range want {
		if !slices.Contains(keep, i) {
			if err := e.putItem(steps, i, written[i]); err != nil {
				return nil, err
			}
		}
	}
	return e.text, nil
}

// list is the list at the end of steps; nil when there is something else.
func (p place) list(steps []string) *yaml.Node {
	if len(p.keys) == len(steps) && p.value != nil && p.value.Kind == yaml.SequenceNode {
		return p.value
	}
	return nil
}

// common pairs the items of the longest common subsequence: item i of a stays as item
// keep[i] of b, or goes when that is -1.
func common(a, b []string) (keep []int) {
	best := make([][]int, len(a)+1)
	for i := range best {
		best[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			best[i][j] = max(best[i+1][j], best[i][j+1])
			if a[i] == b[j] {
				best[i][j] = best[i+1][j+1] + 1
			}
		}
	}
	keep = make([]int, len(a))
	for i, j := 0, 0; i < len(a); i++ {
		for j < len(b) && a[i] != b[j] && best[i][j+1] > best[i+1][j] {
			j++
		}
		if keep[i] = -1; j < len(b) && a[i] == b[j] {
			keep[i] = j
			j++
		}
	}
	return keep
}

// cutItem takes one of several items out of a list.
func (e *editor) cutItem(steps []string, i int) error {
	l, err := lay(e.text)
	if err != nil {
		return err
	}
	list := l.find(steps).list(steps)
	item := list.Content[i]
	from := l.start(item)
	end, err := l.end(item)
	if err != nil {
		return err
	}
	if list.Style&yaml.FlowStyle != 0 {
		return e.cutFlow(l, list, from, end)
	}
	start, pad, err := l.dash(from)
	if err != nil {
		return err
	}
	comments, err := l.comments(start, l.lineEnd(end))
	if err != nil {
		return err
	}
	e.splice(start, l.next(end), commentLines(comments, pad))
	return nil
}

// putItem makes an item number i of a list that has some.
func (e *editor) putItem(steps []string, i int, item string) error {
	l, err := lay(e.text)
	if err != nil {
		return err
	}
	list := l.find(steps).list(steps)
	if i == 0 {
		at := l.start(list.Content[0])
		if list.Style&yaml.FlowStyle != 0 {
			e.splice(at, at, item+", ")
			return nil
		}
		start, pad, err := l.dash(at)
		e.splice(start, start, pad+"- "+item+"\n")
		return err
	}
	before := list.Content[i-1]
	end, err := l.end(before)
	if err != nil {
		return err
	}
	if list.Style&yaml.FlowStyle != 0 {
		e.splice(end, end, ", "+item)
		return nil
	}
	_, pad, err := l.dash(l.start(before))
	e.insertLines(l, end, len(pad), pad+"- "+item+"\n")
	return err
}

// dash is the start of the line of an item of a block list, and what is before its
// dash there.
func (l *layout) dash(item int) (start int, pad string, err error) {
	start = l.lineStart(item)
	at := l.skip(start, func(c byte) bool { return c == ' ' })
	if at >= item || l.text[at] != '-' || strings.TrimLeft(string(l.text[at+1:item]), " ") != "" {
		return 0, "", ErrLayout
	}
	return start, string(l.text[start:at]), nil
}

// cutFlow takes what is between two offsets out of a list in brackets or mapping in
// braces, with its comma.
func (e *editor) cutFlow(l *layout, n *yaml.Node, from, to int) error {
	blank := func(c byte) bool { return c == ' ' }
	if after := l.skip(to, blank); after < len(l.text) && l.text[after] == ',' {
		e.splice(from, l.skip(after+1, blank), "")
		return nil
	}
	before := bytes.TrimRight(l.text[:from], " ")
	if before = bytes.TrimSuffix(before, []byte(",")); len(n.Content) > 2 || n.Kind == yaml.SequenceNode && len(n.Content) > 1 {
		e.splice(len(before), to, "")
		return nil
	}
	e.splice(from, to, "")
	return nil
}

// insertFlow writes an entry at the end of a mapping in braces, or a list in brackets.
func (e *editor) insertFlow(l *layout, n *yaml.Node, entry string) error {
	if len(n.Content) == 0 {
		end, err := l.end(n)
		if err != nil {
			return err
		}
		open := l.start(n)
		open += bytes.IndexAny(l.text[open:end], "[{") + 1
		e.splice(open, open, entry)
		return nil
	}
	at, err := l.lastEnd(n)
	if err != nil {
		return err
	}
	comma := l.skip(at, func(c byte) bool { return c == ' ' })
	if l.text[comma] == ',' {
		e.splice(comma+1, comma+1, " "+entry)
	} else {
		e.splice(at, at, ", "+entry)
	}
	return nil
}
