package settings

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"vserver/guest"
)

// Key is one setting of a spec, or a section of them.
type Key struct {
	Path    string // limits.memory
	Doc     string
	Default string   // in words; "" when there is none
	Values  []string // the words it can be, when it is one of a few
	Section bool     // has keys below it, and no value of its own

	typ reflect.Type
}

// List tells whether the setting holds several values, which += and -= change.
func (k Key) List() bool { return k.typ.Kind() == reflect.Slice }

// Map tells whether the setting holds values by names of the user's choice.
func (k Key) Map() bool { return k.typ.Kind() == reflect.Map }

// Type is what a value looks like, in a word or two.
func (k Key) Type() string {
	switch {
	case k.Section:
		return "section"
	case len(k.Values) > 0:
		return strings.Join(k.Values, " | ")
	case k.List():
		return "list of " + typeWord(k.typ.Elem())
	case k.Map():
		return "name: " + typeWord(k.typ.Elem())
	}
	return typeWord(k.typ)
}

func typeWord(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[guest.XID]():
		return "number"
	case isText(t):
		return strings.ToLower(t.Name())
	case isSection(t):
		var keys []string
		for i := range t.NumField() {
			keys = append(keys, t.Field(i).Tag.Get("yaml"))
		}
		return "{" + strings.Join(keys, ", ") + "}"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "number"
	}
	return "whole number"
}

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isText(t) }

// Keys are all keys of a spec in the order of its type, sections before what is in
// them.
func Keys() []Key { return keysBelow(reflect.TypeFor[guest.Spec](), "") }

func keysBelow(t reflect.Type, path string) []Key {
	var keys []Key
	for i := range t.NumField() {
		k := keyOf(t.Field(i), path)
		keys = append(keys, k)
		if k.Section {
			keys = append(keys, keysBelow(k.typ, k.Path)...)
		}
	}
	return keys
}

func keyOf(f reflect.StructField, below string) Key {
	k := Key{
		Path: join(below, f.Tag.Get("yaml")), Doc: f.Tag.Get("doc"), Default: f.Tag.Get("default"),
		Section: isSection(f.Type), typ: f.Type,
	}
	if w, ok := reflect.Zero(f.Type).Interface().(interface{ Values() []string }); ok {
		k.Values = w.Values()
	}
	return k
}

// target is the key that a dotted path leads to.
type target struct {
	Key
	steps []string // the keys on the way, the own one last
	entry bool     // is in a map: one entry, and typ that of its value, or a key of that
}

// find looks a dotted path up. Behind the key of a map the rest is the name of an
// entry, dots and all, but for a key that entries of that map have
// (limits.io.devices./dev/vda.rbps).
func find(path string) (target, error) {
	to := target{Key: Key{Section: true, typ: reflect.TypeFor[guest.Spec]()}}
	rest := path
	for rest != "" {
		word, more, _ := strings.Cut(rest, ".")
		switch {
		case to.Map() && !to.entry:
			to.Key = Key{Path: path, Doc: to.Doc, typ: to.typ.Elem()}
			to.entry = true
			if at := strings.LastIndexByte(rest, '.'); at > 0 && isSection(to.typ) {
				if i, ok := fieldNamed(to.typ, rest[at+1:]); ok {
					to.Key = keyOf(to.typ.Field(i), strings.TrimSuffix(path, rest[at:]))
					to.steps = append(to.steps, rest[:at])
					rest = rest[at+1:]
				}
			}
			to.steps, rest = append(to.steps, rest), ""
			continue
		case !to.Section:
			return to, wrong(to.Path, "has no keys below it")
		}
		i, ok := fieldNamed(to.typ, word)
		if !ok {
			at := join(to.Path, word)
			return to, Problem{Path: at, Err: noSuchKey(to.typ, at, word)}
		}
		to.Key = keyOf(to.typ.Field(i), to.Path)
		to.steps, rest = append(to.steps, word), more
	}
	if strings.HasSuffix(path, ".") {
		return to, wrong(path, "ends with a dot")
	}
	return to, nil
}

// of gives the target's value in a spec. It is not valid for an entry that is not
// in its map.
func (to target) of(spec *guest.Spec) reflect.Value {
	v := reflect.ValueOf(spec).Elem()
	for _, step := range to.steps {
		switch {
		case !v.IsValid():
			return v
		case v.Kind() == reflect.Map:
			v = v.MapIndex(reflect.ValueOf(step))
		default:
			i, _ := fieldNamed(v.Type(), step)
			v = v.Field(i)
		}
	}
	return v
}

// put sets the target's value in a spec; a value that is not valid takes it away.
// Maps are copied before they are changed.
func (to target) put(spec *guest.Spec, value reflect.Value) {
	put(reflect.ValueOf(spec).Elem(), to.steps, value)
}

func put(v reflect.Value, steps []string, value reflect.Value) {
	switch {
	case len(steps) == 0 && value.IsValid():
		v.Set(value)
	case len(steps) == 0:
		v.SetZero()
	case v.Kind() != reflect.Map:
		i, _ := fieldNamed(v.Type(), steps[0])
		put(v.Field(i), steps[1:], value)
	default:
		m, key := reflect.MakeMap(v.Type()), reflect.ValueOf(steps[0])
		for it := v.MapRange(); it.Next(); {
			m.SetMapIndex(it.Key(), it.Value())
		}
		entry := reflect.New(v.Type().Elem()).Elem()
		if old := m.MapIndex(key); old.IsValid() {
			entry.Set(old)
		}
		if put(entry, steps[1:], value); !value.IsValid() && entry.IsZero() {
			entry = reflect.Value{} // gone with the last of it
		}
		m.SetMapIndex(key, entry)
		if m.Len() == 0 {
			m = reflect.Zero(v.Type())
		}
		v.Set(m)
	}
}

func fieldNamed(t reflect.Type, key string) (int, bool) {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == key {
			return i, true
		}
	}
	return 0, false
}

// noSuchKey is the complaint about a key that type t does not have at that path.
func noSuchKey(t reflect.Type, path, key string) error {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	if there, ok := foreign()[key]; ok {
		return fmt.Errorf("no such key; did you mean %s?: %w", there, guest.ErrInvalid)
	}
	if near := guest.Nearest(key, names); near != "" {
		return fmt.Errorf("no such key; did you mean %s?: %w", near, guest.ErrInvalid)
	}
	for _, k := range Keys() {
		if strings.HasSuffix(k.Path, "."+key) || k.Path == key && path != key {
			return fmt.Errorf("no such key here; did you mean %s?: %w", k.Path, guest.ErrInvalid)
		}
	}
	return fmt.Errorf("no such key; want %s: %w", strings.Join(names, ", "), guest.ErrInvalid)
}

// foreign are the keys for words of Linux-VServer's configuration and of other tools for
// containers.
func foreign() map[string]string {
	words := map[string]string{
		"rss": "limits.memory", "anon": "limits.memory", "ram": "limits.memory", "processes": "limits.pids", "cpu": "limits.cpus",
		"openfd": "limits.rlimits.nofile", "nsock": "network.sockets", "ulimits": "limits.rlimits", "dlimits": "limits.disk",
		"sched": "limits.token_bucket", "priority": "limits.cpu_shares", "nsems": "rights.sysctls.kernel.sem", "semary": "rights.sysctls.kernel.sem",
		"bcapabilities": "rights.bcaps", "capabilities": "rights.bcaps", "ccapabilities": "rights.ccaps", "cflags": "rights.flags",
		"flags": "rights.flags", "nflags": "network.flags", "ncapabilities": "network.ncaps", "security": "rights",
		"interfaces": "network.addresses", "fstab": "mounts", "context": "xid", "uts": "hostname", "scripts": "hooks",
	}
	for _, name := range guest.Rlimits() {
		if words[name] == "" {
			words[name] = "limits.rlimits." + name
		}
	}
	words["nproc"] = "limits.pids"
	return words
}

// Get gives the value of a key as text: a single value bare, lists, maps and
// sections as YAML, and the whole spec for "". A value that is not set and whose
// default is decided elsewhere is empty.
func Get(spec *guest.Spec, path string) (string, error) {
	to, err := find(path)
	if err != nil {
		return "", err
	}
	v := to.of(spec)
	w := &writer{all: true}
	switch {
	case !v.IsValid():
		if err := to.known(spec); err != nil {
			return "", err
		}
		return "", wrong(path, "is not set")
	case isSection(to.typ):
		w.object(v, 0)
	case to.Map() && !to.entry:
		w.entries(v, 0)
	case to.List():
		w.items(v, 0)
	case v.IsZero() && to.Default != "":
	default:
		return bare(v), nil
	}
	return strings.TrimSuffix(w.text.String(), "\n"), nil
}

// Differences lists the keys whose values in two specs differ, as Get tells them.
func Differences(a, b *guest.Spec) (paths []string, err error) {
	return differences(a, b, target{Key: Key{typ: reflect.TypeFor[guest.Spec]()}})
}

// differences looks into the sections alone that are not the same as they are.
func differences(a, b *guest.Spec, section target) (paths []string, err error) {
	va, vb := section.of(a), section.of(b)
	for i := range section.typ.NumField() {
		if reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			continue
		}
		f := section.typ.Field(i)
		k := target{Key: keyOf(f, section.Path), steps: append(slices.Clone(section.steps), f.Tag.Get("yaml"))}
		if k.Section {
			more, err := differences(a, b, k)
			if err != nil {
				return nil, err
			}
			paths = append(paths, more...)
			continue
		}
		before, err1 := Get(a, k.Path)
		after, err2 := Get(b, k.Path)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		if after != before {
			paths = append(paths, k.Path)
		}
	}
	return paths, nil
}
