package settings

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"vserver/guest"
)

// Render gives the text of a spec file: what differs from the defaults, each key
// below a line that tells what it means.
func Render(n guest.Name, spec *guest.Spec) []byte {
	w := &writer{comments: true}
	w.line(0, "# Guest "+string(n)+". Every key and its value now: vserver "+string(n)+" config")
	w.line(0, "# Change one: vserver "+string(n)+" set KEY=VALUE, or this file: vserver "+string(n)+" edit")
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
		if !w.all && empty(f, tag) {
			continue
		}
		if w.comments {
			if depth == 0 {
				w.line(0, "")
			}
			w.line(depth, comment(tag))
		}
		w.entry(tag.Get("yaml"), f, depth)
	}
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

func comment(tag reflect.StructTag) string {
	text := "# " + tag.Get("doc")
	if preset := tag.Get("default"); preset != "" {
		text += " (default: " + preset + ")"
	}
	return text
}

func (w *writer) entry(key string, v reflect.Value, depth int) {
	key = quote(key, false) + ":"
	_, text := marshaler(v)
	switch kind := v.Kind(); {
	case text:
		w.line(depth, key+" "+scalarText(v))
	case kind == reflect.Struct:
		w.line(depth, key)
		w.object(v, depth+1)
	case kind == reflect.Map && v.Len() > 0:
		w.line(depth, key)
		for _, k := range mapKeys(v) {
			w.entry(k, v.MapIndex(reflect.ValueOf(k)), depth+1)
		}
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
	for i := range v.Len() {
		w.line(depth+1, "- "+scalarText(v.Index(i)))
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
		return quote(v.String(), true)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return quote(bare(v), false)
}

// bare is a value as text, as a script wants to read it.
func bare(v reflect.Value) string {
	if m, ok := marshaler(v); ok {
		text, _ := m.MarshalText() // of our types and netip's, which always can
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}

// quote gives s as a YAML scalar: bare when that cannot be read as anything else.
// str is set for values that must stay text and not become a number.
func quote(s string, str bool) string {
	if plainScalar(s) && !(str && otherType(s)) {
		return s
	}
	// Go's escapes of a valid UTF-8 string are all YAML's as well.
	return strconv.Quote(s)
}

func plainScalar(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '/', c == '_', c == '.':
		case c == '-' && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9':
		case i > 0 && (c == '-' || c == '+' || c == '@' || c == '=' || c == '%'):
		case c == ':' && i > 0 && i+1 < len(s) && s[i+1] != ' ':
		case c == ' ' && i > 0 && i+1 < len(s) && s[i+1] != ' ' && s[i+1] != '#' && s[i-1] != ':':
		default:
			return false
		}
	}
	return s != "" && !strings.EqualFold(s, "null") && !strings.HasPrefix(s, "...")
}

// otherType tells whether YAML takes the word for a number, a truth or a date.
func otherType(s string) bool {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf":
		return true
	}
	return s[0] >= '0' && s[0] <= '9' || (s[0] == '-' || s[0] == '+' || s[0] == '.') && len(s) > 1 && s[1] >= '0' && s[1] <= '9'
}
