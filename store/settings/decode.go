package settings

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"vserver/guest"
)

// decoder turns YAML nodes into a spec, strictly: every key must be a field, once,
// with a value of its type. It goes on over problems, to tell all of them.
//
// How a value may be written follows from the type of its field alone:
//
//	struct, map         a mapping; nothing at all is the same as an empty one
//	slice               a list; nothing at all is the same as leaving it out
//	TextUnmarshaler     its text, quoted or not
//	Values() []string   one of these words
//	string              its text, quoted or not: `runlevel: 3` and `FOO: 1.10` are
//	                    what they look like, and not a number
//	number, bool        a YAML number or true and false, unquoted
type decoder struct{ problems Problems }

// maxAliases bounds the aliases that are followed. The types allow no lists of
// lists, so they cannot multiply anyway.
const maxAliases = 64

func decode(root *yaml.Node, to any) *decoder {
	d := &decoder{}
	if root != nil {
		aliases := 0
		d.value(root, reflect.ValueOf(to).Elem(), "", &aliases)
	}
	return d
}

func (d *decoder) bad(n *yaml.Node, path, format string, args ...any) {
	d.fail(n, path, fmt.Errorf(format+": %w", append(args, guest.ErrInvalid)...))
}

func (d *decoder) fail(n *yaml.Node, path string, err error) {
	d.problems = append(d.problems, Problem{Line: n.Line, Column: n.Column, Path: path, Err: err})
}

// value decodes n into to; false when it could not.
func (d *decoder) value(n *yaml.Node, to reflect.Value, path string, aliases *int) bool {
	at := n
	if n.Kind == yaml.AliasNode {
		if *aliases++; *aliases > maxAliases {
			d.bad(at, path, "too many aliases; want at most %d", maxAliases)
			return false
		}
		n = n.Alias
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.bad(at, path, "the tag %s has no place here", n.Tag)
		return false
	}
	text, _ := to.Addr().Interface().(encoding.TextUnmarshaler)
	switch kind := to.Kind(); {
	case text != nil:
		return d.text(at, n, text, path)
	case kind == reflect.Struct:
		return d.object(n, to, path, aliases)
	case kind == reflect.Map:
		return d.entries(n, to, path, aliases)
	case kind == reflect.Slice:
		return d.list(n, to, path, aliases)
	default:
		return d.scalar(at, n, to, path)
	}
}

func (d *decoder) object(n *yaml.Node, to reflect.Value, path string, aliases *int) bool {
	if !d.mapping(n, path) {
		return false
	}
	t := to.Type()
	var seen [64]int // line of the key that gave field i
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f, ok := fieldNamed(t, key.Value)
		at := join(path, key.Value)
		switch {
		case !ok || key.Kind != yaml.ScalarNode:
			d.unknown(key, t, at)
			continue
		case seen[f] != 0:
			d.bad(key, at, "is there twice, first in line %d", seen[f])
			continue
		}
		seen[f] = key.Line
		if d.value(value, to.Field(f), at, aliases) {
			d.notZero(value, to.Field(f), t.Field(f).Tag.Get("default"), at)
		}
	}
	return true
}

// notZero refuses a value that is written but would be taken for no value, such as
// pids: 0.
func (d *decoder) notZero(n *yaml.Node, v reflect.Value, preset, path string) {
	if preset != "" && n.Tag != "!!null" && v.IsZero() {
		d.bad(n, path, "%s is no value; leave the key out for the default (%s)", strconv.Quote(n.Value), preset)
	}
}

func (d *decoder) unknown(key *yaml.Node, t reflect.Type, path string) {
	switch {
	case key.Kind != yaml.ScalarNode:
		d.bad(key, path, "want a word as key")
		return
	case key.Tag == "!!merge":
		d.bad(key, path, "merged keys are not supported; write them out")
		return
	}
	d.fail(key, path, noSuchKey(t, path, key.Value))
}

func (d *decoder) entries(n *yaml.Node, to reflect.Value, path string, aliases *int) bool {
	if !d.mapping(n, path) {
		return false
	}
	out, elem := reflect.MakeMap(to.Type()), to.Type().Elem()
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		name := reflect.ValueOf(key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			d.bad(key, path, "want a word as key")
			continue
		case out.MapIndex(name).IsValid():
			d.bad(key, at, "is there twice")
			continue
		}
		item := reflect.New(elem).Elem()
		if d.value(value, item, at, aliases) {
			out.SetMapIndex(name, item)
		}
	}
	if out.Len() > 0 {
		to.Set(out)
	}
	return true
}

// mapping tells whether n is a mapping or, as a section whose keys are all
// commented out, nothing.
func (d *decoder) mapping(n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.MappingNode, n.Tag == "!!null":
		return true
	case path == "":
		d.bad(n, path, "want keys and values, as xid: 8")
	default:
		d.bad(n, path, "want keys and values below it")
	}
	return false
}

func (d *decoder) list(n *yaml.Node, to reflect.Value, path string, aliases *int) bool {
	switch {
	case n.Tag == "!!null":
		return true
	case n.Kind != yaml.SequenceNode:
		d.bad(n, path, "want a list, as [%s]", firstOf(n))
		return false
	}
	out := reflect.MakeSlice(to.Type(), len(n.Content), len(n.Content))
	ok := true
	for i, item := range n.Content {
		ok = d.value(item, out.Index(i), path+"["+strconv.Itoa(i)+"]", aliases) && ok
	}
	to.Set(out)
	return ok
}

func firstOf(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && len(n.Value) < 60 {
		return n.Value
	}
	return "one, two"
}

// plain tells whether n is one value, and not nothing.
func (d *decoder) plain(at, n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.SequenceNode:
		d.bad(at, path, "want one value, not a list")
	case n.Kind != yaml.ScalarNode:
		d.bad(at, path, "want one value, not keys")
	case n.Tag == "!!null":
		d.bad(at, path, "has no value; leave the key out for the default")
	case n.Tag == "!!binary":
		d.bad(at, path, "want text, not binary")
	default:
		return true
	}
	return false
}

func (d *decoder) text(at, n *yaml.Node, to encoding.TextUnmarshaler, path string) bool {
	if !d.plain(at, n, path) || !d.decimal(at, n, path) {
		return false
	}
	err := to.UnmarshalText([]byte(n.Value))
	switch to := to.(type) {
	case *netip.Addr:
		if err != nil || !to.IsValid() {
			err = fmt.Errorf("%q: want an IPv4 or IPv6 address: %w", n.Value, guest.ErrInvalid)
		}
	}
	if err != nil {
		d.fail(at, path, err)
	}
	return err == nil
}

func (d *decoder) scalar(at, n *yaml.Node, to reflect.Value, path string) bool {
	if !d.plain(at, n, path) {
		return false
	}
	quoted := n.Tag == "!!str"
	switch to.Kind() {
	case reflect.String:
		if words, ok := to.Interface().(interface{ Values() []string }); ok {
			if list := words.Values(); !slices.Contains(list, n.Value) {
				d.fail(at, path, guest.WantOneOf(n.Value, list))
				return false
			}
		}
		to.SetString(n.Value)
		return true
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.bad(at, path, "%q: want true or false", n.Value)
			return false
		}
		to.SetBool(n.Value[0] == 't' || n.Value[0] == 'T')
		return true
	case reflect.Float64:
		v, err := strconv.ParseFloat(n.Value, 64)
		if quoted || err != nil || v != v {
			d.bad(at, path, "%q: want a number, as 1.5", n.Value)
			return false
		}
		to.SetFloat(v)
		return d.decimal(at, n, path)
	}
	return d.integer(at, n, to, path)
}

func (d *decoder) integer(at, n *yaml.Node, to reflect.Value, path string) bool {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	switch {
	case n.Tag != "!!int":
		d.bad(at, path, "%q: want a whole number, as 4096", n.Value)
	case !d.decimal(at, n, path):
	case err != nil:
		d.bad(at, path, "%s: want a plain decimal number", n.Value)
	case to.CanInt() && to.OverflowInt(v), to.CanUint() && (v < 0 || to.OverflowUint(uint64(v))):
		d.bad(at, path, "%s: is out of range", n.Value)
	default:
		if to.CanInt() {
			to.SetInt(v)
		} else {
			to.SetUint(uint64(v))
		}
		return true
	}
	return false
}

// decimal refuses numbers like 010 and 0x10, which programs read in two ways.
func (d *decoder) decimal(at, n *yaml.Node, path string) bool {
	digits := strings.TrimLeft(n.Value, "+-")
	if n.Tag == "!!int" && len(digits) > 1 && digits[0] == '0' {
		d.bad(at, path, "%s: want a plain decimal number", n.Value)
		return false
	}
	return true
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
