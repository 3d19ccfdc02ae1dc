package settings

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/store/patch"
)

// signature begins the files that we wrote, in which each key has its description
// above it.
const signature = "# Guest "

// Render gives the text of a spec file: what differs from the defaults, each key
// below a line that tells what it means.
func Render(n guest.Name, spec *guest.Spec) []byte {
	w := &writer{comments: true}
	w.line(0, signature+string(n)+". A setting with its default: vserver "+string(n)+" config KEY")
	w.line(0, "# To change it: vserver "+string(n)+" set KEY=VALUE, or this whole file: vserver "+string(n)+" edit")
	w.object(reflect.ValueOf(spec).Elem(), 0)
	return []byte(w.text.String())
}

// writer writes values as YAML in block style, short lists on one line.
type writer struct {
	text     strings.Builder
	comments bool // write the doc tags above the keys
	all      bool // write zero values as well
}

func (w *writer) line(depth int, text string) {
	w.text.WriteString(strings.Repeat("  ", depth))
	w.text.WriteString(text)
	w.text.WriteByte('\n')
}

func (w *writer) object(v reflect.Value, depth int) {
	t := v.Type()
	for i := range t.NumField() {
		f, tag := v.Field(i), t.Field(i).Tag
		if w.all && undecided(f, tag) || !w.all && empty(f, tag) {
			continue
		}
		if w.comments {
			if depth == 0 {
				w.line(0, "")
			}
			w.line(depth, describe(tag.Get("doc"), tag.Get("default")))
		}
		w.entry(tag.Get("yaml"), f, depth)
	}
}

// undecided tells whether a field's default is named in words and not filled in, so
// that its zero value would say something else.
func undecided(v reflect.Value, tag reflect.StructTag) bool {
	return tag.Get("default") != "" && v.IsZero()
}

// empty tells whether a field says nothing. An empty list is something of its own
// where there is a default: dns: [] is no name server at all.
func empty(v reflect.Value, tag reflect.StructTag) bool {
	switch v.Kind() {
	case reflect.Struct:
		if _, ok := marshaler(v); ok {
			return v.IsZero()
		}
		for i := range v.NumField() {
			if !empty(v.Field(i), v.Type().Field(i).Tag) {
				return false
			}
		}
		return true
	case reflect.Slice:
		return v.Len() == 0 && (v.IsNil() || tag.Get("default") == "")
	case reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}

// describe is the comment above a key.
func describe(doc, preset string) string {
	if preset != "" {
		return "# " + doc + " (default: " + preset + ")"
	}
	return "# " + doc
}

func (w *writer) entry(key string, v reflect.Value, depth int) {
	key = patch.Quote(key, false) + ":"
	_, text := marshaler(v)
	switch kind := v.Kind(); {
	case text:
		w.line(depth, key+" "+scalarText(v))
	case kind == reflect.Struct:
		w.line(depth, key)
		w.object(v, depth+1)
	case kind == reflect.Map && v.Len() > 0:
		w.line(depth, key)
		w.entries(v, depth+1)
	case kind == reflect.Map:
		w.line(depth, key+" {}")
	case kind == reflect.Slice:
		w.list(key, v, depth)
	default:
		w.line(depth, key+" "+scalarText(v))
	}
}

// lineWidth is where a list no longer goes on one line.
const lineWidth = 80

func (w *writer) list(key string, v reflect.Value, depth int) {
	if one := key + " " + flowList(v); 2*depth+len(one) <= lineWidth || v.Len() < 2 {
		w.line(depth, one)
		return
	}
	w.line(depth, key)
	w.items(v, depth+1)
}

func (w *writer) items(v reflect.Value, depth int) {
	for i := range v.Len() {
		w.line(depth, "- "+scalarText(v.Index(i)))
	}
}

func (w *writer) entries(v reflect.Value, depth int) {
	for _, k := range mapKeys(v) {
		w.entry(k, v.MapIndex(reflect.ValueOf(k)), depth)
	}
}

func flowList(v reflect.Value) string {
	items := make([]string, v.Len())
	for i := range items {
		items[i] = scalarText(v.Index(i))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func mapKeys(v reflect.Value) []string {
	keys := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

func marshaler(v reflect.Value) (encoding.TextMarshaler, bool) {
	m, ok := v.Interface().(encoding.TextMarshaler)
	return m, ok
}

// scalarText is a value as YAML, on one line, right in a list of [ ] as well.
func scalarText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return patch.Quote(v.String(), true)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return patch.Quote(bare(v), false)
}

// bare is a value as text, as a script wants to read it.
func bare(v reflect.Value) string {
	if m, ok := marshaler(v); ok {
		text, _ := m.MarshalText() // of our types and netip's, which always can
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}
