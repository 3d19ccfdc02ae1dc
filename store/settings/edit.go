package settings

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"vserver/fault"
	"vserver/guest"
	"vserver/store/patch"
)

// Set changes one setting in the text of a spec and gives the new text. Everything
// else stays as it is: comments, order, layout. An empty value takes the setting
// away, so that it has its default again.
//
// The value of a list is written "a, b" or "[a, b]", that of a map "{k: v}"; one
// entry of a map has a key of its own ("limits.rlimits.nofile"). The new value must
// be one that the setting can have; whether it goes with the others is for Parse to
// say, so that several can be set one after the other.
func Set(text []byte, path, value string) ([]byte, error) {
	to, err := find(path)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, wrong("", "want the path of a key, as limits.memory")
	}
	if to.Section && value != "" {
		return nil, wrong(path, "is a section; set one of its keys")
	}
	if value == "" {
		return to.change(text, wanted{})
	}
	w, err := to.wanted(value)
	if err != nil && slices.Contains([]string{"none", "max", "unlimited", "infinity", "inf", "-1"}, strings.ToLower(value)) {
		return nil, fault.Hint(err, "none is no value: vserver NAME set "+path+"=")
	}
	if err != nil {
		return nil, err
	}
	return to.change(text, w)
}

// known refuses the name of an entry that no map of its kind can have, unless it is there:
// taken away with success, the one that was meant would stay.
func (to target) known(spec *guest.Spec) error {
	if !to.entry || isSection(to.typ) || to.of(spec).IsValid() { // any name of a device is one
		return nil
	}
	tried := guest.Spec{Network: guest.Network{Mode: guest.NetPrivate}} // which has most
	value := reflect.New(to.typ).Elem()
	if value.Kind() == reflect.String {
		value.SetString("1")
	}
	to.put(&tried, value)
	for _, p := range tried.Validate() {
		if p.Path == to.Path {
			return p
		}
	}
	return nil
}

// Add appends items to a list, those that are not in it yet.
func Add(text []byte, path, items string) ([]byte, error) {
	return changeList(text, path, items, func(old, items []string) []string {
		for _, item := range items {
			if !slices.Contains(old, item) {
				old = append(old, item)
			}
		}
		return old
	})
}

// Drop takes items out of a list. One that is not in it is an error.
func Drop(text []byte, path, items string) ([]byte, error) {
	var missing error
	out, err := changeList(text, path, items, func(old, items []string) []string {
		for _, item := range items {
			if !slices.Contains(old, item) {
				missing = wrong(path, "%q is not in the list", item)
			}
		}
		var kept []string
		for _, item := range old {
			if !slices.Contains(items, item) {
				kept = append(kept, item)
			}
		}
		return kept
	})
	if missing != nil {
		return nil, missing
	}
	return out, err
}

// Apply makes the changes "key=value", "key=", "key+=items" and "key-=items" one
// after the other, and checks the outcome as a whole. file is named in errors, as
// for Parse. It gives the paths that were changed.
func Apply(file string, text []byte, changes []string) (out []byte, paths []string, err error) {
	if _, p := tree(file, text); p != nil {
		return nil, nil, Problems{*p}
	}
	for _, c := range changes {
		key, value, ok := strings.Cut(c, "=")
		if !ok {
			return nil, nil, wrong("", "%q: want KEY=VALUE, KEY= to unset, KEY+=ITEM or KEY-=ITEM", c)
		}
		do := Set
		if k, ok := strings.CutSuffix(key, "+"); ok {
			key, do = k, Add
		} else if k, ok := strings.CutSuffix(key, "-"); ok {
			key, do = k, Drop
		}
		key = strings.TrimSpace(key)
		if text, err = do(text, key, strings.TrimSpace(value)); err != nil {
			return nil, nil, err
		}
		paths = append(paths, key)
	}
	if _, err := Parse(file, text); err != nil {
		return nil, nil, err
	}
	return text, paths, nil
}

// wanted is a new value: decoded, and as the user wrote it. Without a value the
// setting is taken away.
type wanted struct {
	value reflect.Value
	items []string // of a list, as YAML
	text  string   // as YAML on one line
}

// wanted reads a value for the target as it is written on a command line.
func (to target) wanted(value string) (wanted, error) {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Line: 1, Column: 1}
	kind := to.typ.Kind()
	switch {
	case to.List() && !(strings.HasPrefix(value, "[") && strings.HasSuffix(value, "]")): // [::1]:80:80 is an item
		n = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range itemsOf(to.typ.Elem(), value) {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.TrimSpace(item)})
		}
	case to.List(), (to.Map() || isSection(to.typ)) && strings.HasPrefix(value, "{"):
		root, p := tree("", []byte(value))
		if p != nil {
			return wanted{}, Problem{Path: to.Path, Err: fmt.Errorf("%q: %w", value, p.Err)}
		}
		n = root
	case to.Map():
		return wanted{}, wrong(to.Path, "set one entry, as %s.NAME=VALUE, or all as {NAME: VALUE}", to.Path)
	case isSection(to.typ):
		return wanted{}, wrong(to.Path, "want its keys, as %s", typeWord(to.typ))
	case kind == reflect.Bool || kind == reflect.Int || kind == reflect.Uint32 || kind == reflect.Float64:
		n.Tag = ""
		n.Tag = n.ShortTag()
	}
	v := reflect.New(to.typ).Elem()
	d, aliases := &decoder{}, 0
	if d.value(n, v, to.Path, &aliases) && len(d.problems) == 0 {
		d.notZero(n, v, to.Default, to.Path)
	}
	if len(d.problems) > 0 {
		return wanted{}, Problem{Path: d.problems[0].Path, Err: d.problems[0].Err}
	}
	w := wanted{value: v}
	w.text, w.items = oneLine(n, to.typ)
	return w, nil
}

// itemsOf cuts a list as it is written without brackets: at commas, unless the type has
// commas within and says otherwise.
func itemsOf(t reflect.Type, list string) []string {
	if own, ok := reflect.Zero(t).Interface().(interface{ Items(string) []string }); ok {
		return own.Items(list)
	}
	return strings.Split(list, ",")
}

// oneLine writes a value on one line as the user spelled it ("2m", not "2m0s").
func oneLine(n *yaml.Node, t reflect.Type) (text string, items []string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for _, c := range n.Content {
			item, _ := oneLine(c, t.Elem())
			items = append(items, item)
		}
		return "[" + strings.Join(items, ", ") + "]", items
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			below := t
			if t.Kind() == reflect.Map {
				below = t.Elem()
			} else if f, ok := fieldNamed(t, n.Content[i].Value); ok {
				below = t.Field(f).Type
			}
			item, _ := oneLine(n.Content[i+1], below)
			items = append(items, patch.Quote(n.Content[i].Value, true)+": "+item)
		}
		return "{" + strings.Join(items, ", ") + "}", nil
	}
	return patch.Quote(n.Value, isWord(t)), nil
}

// changeList works out a new list from the old one and the items given, all as text.
func changeList(text []byte, path, items string, merge func(old, items []string) []string) ([]byte, error) {
	to, err := find(path)
	if err != nil {
		return nil, err
	}
	if !to.List() {
		return nil, wrong(path, "is no list; write %s=VALUE", path)
	}
	given, err := to.wanted(items)
	if err != nil {
		return nil, err
	}
	root, p := tree("", text)
	if p != nil {
		return nil, *p
	}
	var spec guest.Spec
	decode(root, &spec)
	merged := merge(texts(to.of(&spec)), texts(given.value))
	for i := range merged {
		merged[i] = patch.Quote(merged[i], isWord(to.typ.Elem()))
	}
	w, err := to.wanted("[" + strings.Join(merged, ", ") + "]")
	if err != nil {
		return nil, err
	}
	return to.change(text, w)
}

func texts(list reflect.Value) []string {
	out := make([]string, list.Len())
	for i := range out {
		out[i] = bare(list.Index(i))
	}
	return out
}

// change edits the text and makes sure that the new one differs from the old in
// this setting alone: whatever the layout of the file, a wrong edit cannot pass.
func (to target) change(text []byte, w wanted) ([]byte, error) {
	root, p := tree("", text)
	if p != nil {
		return nil, *p
	}
	var want, got guest.Spec
	decode(root, &want)
	if err := to.known(&want); err != nil && !w.value.IsValid() {
		return nil, err
	}
	old := want
	to.put(&want, w.value)
	if entry := (target{steps: to.steps[:len(to.steps)-1]}); to.entry && !entry.of(&want).IsValid() {
		to.steps = entry.steps // which goes with the last of its keys
	}
	out, err := to.patch(text, &old, w)
	if err != nil {
		return nil, unchangeable(to.Path, err)
	}
	root, p = tree("", out)
	if p != nil {
		return nil, unchangeable(to.Path, p.Err)
	}
	decode(root, &got)
	if meaning(&want) != meaning(&got) {
		return nil, unchangeable(to.Path, patch.ErrLayout)
	}
	return out, nil
}

// patch writes the wanted value into the text, whose spec so far is old.
func (to target) patch(text []byte, old *guest.Spec, w wanted) ([]byte, error) {
	var docs patch.Docs
	if bytes.HasPrefix(text, []byte(signature)) {
		docs = make(patch.Docs)
		for _, k := range Keys() {
			docs[k.Path] = describe(k.Doc, k.Default)
		}
	}
	switch {
	case !w.value.IsValid():
		return patch.Cut(text, to.steps, docs)
	case to.List() && w.value.Len() > 0:
		return patch.Merge(text, to.steps, texts(to.of(old)), texts(w.value), w.items, docs)
	}
	return patch.Put(text, to.steps, w.text, docs)
}

func unchangeable(path string, err error) error {
	return fault.Hint(wrong(path, "%w", err), "change the file itself: vserver NAME edit")
}

// meaning is equal for texts that say the same.
func meaning(s *guest.Spec) string {
	w := &writer{}
	w.object(reflect.ValueOf(s).Elem(), 0)
	return w.text.String()
}

// isWord tells whether values of the type are text that must not turn into a number.
func isWord(t reflect.Type) bool { return t.Kind() == reflect.String && !isText(t) }
