// Package schema describes spec files to editors and to people: as a JSON schema and
// as a page of the manual. Both are made from the fields and tags of guest.Spec and
// from the rules of its validation; the files in doc/ are written by the package's
// test with -update.
package schema

import (
	"encoding"
	"encoding/json"
	"net/netip"
	"reflect"

	"vserver/guest"
)

// JSON gives the schema, in draft 2020-12 of JSON Schema. It refuses nothing that
// Parse takes, and most of what Parse refuses; what is left (such as an address that
// is its network's own) needs arithmetic.
func JSON() ([]byte, error) {
	s := section(reflect.TypeFor[guest.Spec](), "")
	head := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "vserver guest"},
		{"description", "What is wanted of a guest: /etc/vservers/NAME.yaml"},
	}
	text, err := json.MarshalIndent(append(head, s...), "", "  ")
	return append(text, '\n'), err
}

// object is a JSON object that keeps its order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

// section describes a mapping with known keys.
func section(t reflect.Type, path string) object {
	var keys object
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		at := name
		if path != "" {
			at = path + "." + name
		}
		describe := object{{"description", f.Tag.Get("doc")}}
		if preset := f.Tag.Get("default"); preset != "" {
			describe[0].value = f.Tag.Get("doc") + " (default: " + preset + ")"
		}
		keys = append(keys, member{name, append(describe, value(f.Type, at, f.Tag.Get("default") != "")...)})
	}
	s := object{{"type", orNull("object")}, {"properties", keys}, {"additionalProperties", false}}
	if rules := rulesOf(path); rules != nil {
		s = append(s, member{"allOf", rules})
	}
	return s
}

// orNull lets a section, list or map stand there without content.
func orNull(kind string) []string { return []string{kind, "null"} }

// value describes what may stand behind a key. A value that equals the default's
// absence is refused where there is a default.
func value(t reflect.Type, path string, preset bool) object {
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return text(t, path, preset)
	case t.Kind() == reflect.Struct:
		return section(t, path)
	case t.Kind() == reflect.Map:
		return object{{"type", orNull("object")}, {"maxProperties", guest.MaxItems},
			{"propertyNames", names(path)}, {"additionalProperties", value(t.Elem(), path+".", false)}}
	case t.Kind() == reflect.Slice:
		return list(t, path)
	case t.Kind() == reflect.Bool:
		return object{{"type", "boolean"}}
	case t.Kind() == reflect.String:
		return word(t, path, preset)
	case t.Kind() == reflect.Float64:
		return bounded("number", path, preset)
	}
	return bounded("integer", path, preset)
}

func bounded(kind, path string, preset bool) object {
	return append(object{{"type", kind}}, limits(path, preset)...)
}

// limits is the range of a number, and 0 beside it where that is no limit.
func limits(path string, preset bool) object {
	r, ok := guest.RangeOf(path)
	within := object{{"minimum", r.Min}, {"maximum", r.Max}}
	switch {
	case !ok:
		return object{{"minimum", 0}}
	case !preset && r.Min > 0:
		return object{{"anyOf", []object{{{"const", 0}}, within}}}
	}
	return within
}

func list(t reflect.Type, path string) object {
	o := object{{"type", orNull("array")}, {"maxItems", guest.MaxItems}}
	switch path {
	case "init.command", "init.stop_command":
		o = append(o, member{"prefixItems", []object{absolute(dots)}})
	case "rights.bcaps", "rights.ccaps", "rights.flags", "init.kill_sequence":
	default:
		o = append(o, member{"uniqueItems", true})
	}
	if path == "init.command" {
		o = append(o, member{"minItems", 1})
	}
	return append(o, member{"items", value(t.Elem(), path+"[]", false)})
}

// word describes a string. YAML takes 3 for a number and true for a truth, but where
// text is wanted they are text.
func word(t reflect.Type, path string, preset bool) object {
	if w, ok := reflect.Zero(t).Interface().(interface{ Values() []string }); ok {
		return object{{"enum", w.Values()}}
	}
	o := object{{"type", []string{"string", "number", "boolean"}}, {"maxLength", guest.MaxText}}
	switch path {
	case "hostname":
		o[1].value = guest.MaxHostname
		return append(o, member{"pattern", hostname})
	case "network.search[]":
		return append(o, member{"pattern", hostname[:len(hostname)-1] + `\.?$`})
	case "init.runlevel":
		return object{{"enum", []any{1, 2, 3, 4, 5, 6, 7, 8, 9, "1", "2", "3", "4", "5", "6", "7", "8", "9", "S", "s"}}}
	case "init.runlevel_stop":
		return object{{"enum", []any{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}}}
	case "shell", "root.path", "root.device":
		return absolute(dots)
	case "root.lower[]":
		return append(o, member{"anyOf", []object{absolute(dots), {{"pattern", `^[A-Za-z0-9][A-Za-z0-9._:@+-]*$`}}}})
	case "root.shared[]":
		return absolute(`^/((proc|sys|dev|run)(/|$)|$)|` + dots)
	case "hooks.initialize[]", "hooks.prepre-start[]", "hooks.postpost-stop[]", "hooks.pre-start[]", "hooks.post-start[]", "hooks.pre-stop[]", "hooks.post-stop[]":
		return absolute(dots)
	case "rights.syscalls[]":
		return append(o, member{"pattern", `^[a-z0-9][a-z0-9_]*$`})
	case "rights.personality[]":
		return append(o, member{"enum", guest.Personalities()})
	case "network.flags[]":
		return append(o, member{"pattern", `^[!~]*([Nn][Xx][Ff]_)?(info_)?(` + anyCase(append(guest.NetFlagNames(), "remap_lback", "allow_lback")) + ")$"})
	case "network.ncaps[]":
		return append(o, member{"pattern", `^[!~]*([Nn][Xx][Cc]_)?(` + anyCase(guest.NetCapNames()) + ")$"})
	case "network.bridge", "network.parent":
		o[1].value = 15
		return append(o, member{"pattern", `^[!-.0-9;-~]*$`}, member{"not", object{{"enum", []string{".", ".."}}}})
	case "boot.marks[]":
		return append(o, member{"pattern", `^[A-Za-z0-9][A-Za-z0-9._-]*$`})
	case "rights.bcaps[]":
		return append(o, member{"pattern", bcap()})
	case "rights.ccaps[]":
		return append(o, member{"pattern", rightWords(guest.Ccaps(), "([Vv][Xx][Cc]_)?")})
	case "rights.flags[]":
		return append(o, member{"pattern", rightWords(guest.Flags(), "([Vv][Xx][Ff]_)?([Ii][Nn][Ff][Oo]_)?")})
	}
	if preset {
		o = append(o, member{"minLength", 1})
	}
	return append(o, member{"pattern", `^[^\x00-\x1f\x7f-\x9f]*$`})
}

const (
	hostname = `^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`
	// path0 is an absolute path as it should be written: no "//", no "/" at the end.
	path0 = `^(/|(/[^/\x00-\x1f\x7f-\x9f]+)+)$`
	// dots are "." and ".." in a path.
	dots = `/\.\.?(/|$)`
)

// absolute describes a path with nothing in it of what not matches.
func absolute(not string) object {
	return object{{"type", "string"}, {"maxLength", guest.MaxText}, {"pattern", path0}, {"not", object{{"pattern", not}}}}
}

func bcap() string {
	return `^[!~]*([Aa][Ll][Ll]|[Aa][Nn][Yy]|[Nn][Oo][Nn][Ee]|\^([0-9]|[123][0-9]|40)|([Cc][Aa][Pp]_)?(` + anyCase(guest.Caps()) + "))$"
}

// anyCase is the pattern of one of the names in letters of any case.
func anyCase(names []string) (p string) {
	for i, name := range names {
		if i > 0 {
			p += "|"
		}
		for _, c := range name {
			if c == '_' {
				p += "_"
			} else {
				p += "[" + string(c-'a'+'A') + string(c) + "]"
			}
		}
	}
	return p
}

func names(path string) object {
	if path == "limits.rlimits" {
		return object{{"enum", guest.Rlimits()}}
	}
	if path == "limits.ceilings" {
		return object{{"enum", guest.CeilingNames()}}
	}
	if path == "rights.sysctls" {
		return object{{"anyOf", []object{{{"enum", guest.Sysctls()}}, {{"pattern", `^net(\.[A-Za-z0-9][A-Za-z0-9_/-]*)+$`}}}}, {"maxLength", 255}}
	}
	switch path {
	case "limits.hugepages":
		return object{{"pattern", `^[0-9]+[kKmMgG]$`}}
	case "limits.io.devices":
		return object{{"maxLength", guest.MaxText}, {"pattern", `^/dev/[^\x00-\x1f\x7f-\x9f]+$`}}
	}
	return object{{"pattern", `^[A-Za-z_][A-Za-z0-9._-]*$`}, {"maxLength", 254}}
}

// size is a guest.Bytes as text.
const size = `\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[kKmMgGtT]?[iI]?[bB]?`

// text describes the types that read themselves.
func text(t reflect.Type, path string, preset bool) object {
	both := func(kind, pattern string) object {
		return append(object{{"type", []string{kind, "string"}}, {"pattern", pattern}}, limits(path, preset)...)
	}
	switch t {
	case reflect.TypeFor[guest.XID]():
		return both("integer", `^[0-9]+$`)
	case reflect.TypeFor[guest.Bytes]():
		return both("number", "^"+size+"$")
	case reflect.TypeFor[guest.Count]():
		return both("number", `^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[kKmMgG]?$`)
	case reflect.TypeFor[guest.Duration]():
		return both("number", `^\+?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$|^\+?[0-9]+(\.[0-9]*)?$`)
	case reflect.TypeFor[guest.Signal]():
		return both("integer", `^[A-Za-z0-9+]+$`)
	case reflect.TypeFor[guest.Rlimit]():
		return both("number", "^("+size+"|unlimited|inf)(:("+size+"|unlimited|inf))?$")
	case reflect.TypeFor[guest.Address]():
		return object{{"type", "string"}, {"pattern", `^\s*([0-9]{1,3}(\.[0-9]{1,3}){3}/([1-9]|[12][0-9]|3[0-2])|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*/([1-9][0-9]?|1[01][0-9]|12[0-8]))` +
			`(\s+(nodev|dev\s+[^\s/:]{1,15}|(broadcast|brd)\s+(\+|[0-9.]+)|scope\s+[a-z0-9]+|(name|label)\s+[A-Za-z0-9][A-Za-z0-9._-]*))*\s*$`}}
	case reflect.TypeFor[guest.Device]():
		return object{{"type", "string"}, {"pattern", `^\s*(/dev/[A-Za-z0-9][A-Za-z0-9._:@+,/-]*|[cb]\s+[1-9][0-9]*:([0-9]+|\*))(\s+[rwm]{1,3})?\s*$`}}
	case reflect.TypeFor[guest.Publish]():
		const side = `(([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]):)?[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?`
		return object{{"type", "string"}, {"pattern", "^" + side + ":" + side + "(/(tcp|udp))?$"}}
	case reflect.TypeFor[guest.Percent]():
		return both("number", `^\s*\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*%?\s*$`)
	case reflect.TypeFor[guest.Numbers]():
		return object{{"type", []string{"integer", "string"}}, {"pattern", `^ *[0-9]+( *- *[0-9]+)?( *, *[0-9]+( *- *[0-9]+)?)* *$`}}
	case reflect.TypeFor[guest.IOPrio]():
		return object{{"type", "string"}, {"pattern", `^(idle|(best-effort|realtime)(:\+?0*[0-7])?)$`}}
	case reflect.TypeFor[guest.Rate]():
		return both("number", `^\s*\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[kKmMgGtT]?([bB][iI][tT])?\s*$`)
	case reflect.TypeFor[guest.Rule]():
		return object{{"type", "string"}, {"maxLength", guest.MaxText}, {"pattern", `^\s*(allow|deny)(\s+[a-z0-9.,:/A-F-]+)*\s*$`}}
	case reflect.TypeFor[netip.Addr]():
		return object{{"type", "string"}, {"pattern", `^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9][A-Za-z0-9._-]*)?)$`}}
	case reflect.TypeFor[guest.Name]():
		return object{{"type", []string{"string", "number"}}, {"pattern", `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`},
			{"not", object{{"enum", guest.Verbs}}}}
	}
	return object{{"type", []string{"string", "number", "boolean"}}}
}

// rulesOf are what keys of a section demand of each other.
func rulesOf(path string) []object {
	is := func(key string, values ...string) object {
		return object{{"required", []string{key}}, {"properties", object{{key, object{{"enum", values}}}}}}
	}
	without := func(key string) object {
		return object{{"properties", object{{key, object{{"maxItems", 0}}}}}}
	}
	absent := func(key string) object { return object{{"properties", object{{key, false}}}} }
	rule := func(when, then object) object { return object{{"if", when}, {"then", then}} }
	switch path {
	case "":
		return []object{rule(is("userns", "none"), absent("idbase"))}
	case "root":
		return []object{rule(is("kind", "dir"), without("lower")), rule(is("kind", "dir"), without("shared"))}
	case "network":
		rules := []object{rule(is("mode", "host", "none"), without("addresses"))}
		for _, key := range []string{"gateway", "ncaps"} {
			rules = append(rules, rule(is("mode", "host", "none"), without(key)))
		}
		return append(rules, rule(is("mode", "host", "none"), absent("table")),
			rule(is("mode", "private", "host", "none"), without("flags")), rule(is("mode", "private", "host", "none"), absent("lback")),
			rule(is("mode", "shared", "host", "none"), absent("link")), rule(is("mode", "shared", "host", "none"), without("publish")),
			rule(is("link", "macvlan"), object{{"required", []string{"parent"}}}), rule(object{{"required", []string{"bridge"}}}, is("link", "bridge")),
			rule(object{{"required", []string{"parent"}}}, is("link", "macvlan")), rule(is("link", "macvlan"), without("publish")))
	case "rights":
		return []object{rule(is("seccomp", "none"), without("syscalls"))}
	case "init":
		return []object{
			rule(is("style", "command"), object{{"required", []string{"command"}}, {"properties", object{{"command", object{{"type", "array"}}}}}}),
			rule(object{{"required", []string{"runlevel"}}}, is("style", "sysv")),
			rule(object{{"required", []string{"runlevel"}}}, without("command")),
			rule(object{{"required", []string{"runlevel_stop"}}}, is("style", "sysv")),
			rule(object{{"required", []string{"stop_signal"}}}, without("stop_command")),
		}
	}
	return nil
}
