package settings

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// writer of layouts: the same settings in the many ways that people write them, with
// comments everywhere.
type layouts struct {
	*rand.Rand
	strings.Builder
	comments []string
}

func (l *layouts) maybe(n int) bool { return l.Intn(n) == 0 }

func (l *layouts) comment() string {
	c := fmt.Sprintf("# c%d%s", len(l.comments), []string{"", " it's", ` "`, " a: b", " [x", " - y", "#", " {"}[l.Intn(8)])
	l.comments = append(l.comments, c)
	return c
}

// tail ends a line.
func (l *layouts) tail() {
	if l.maybe(4) {
		l.WriteString(strings.Repeat(" ", 1+l.Intn(3)) + l.comment())
	}
	l.WriteString("\n")
}

// head begins a line of its own.
func (l *layouts) head(pad string) {
	if l.maybe(4) {
		l.WriteString("\n")
	}
	if l.maybe(4) {
		l.WriteString(pad + l.comment() + "\n")
	}
	l.WriteString(pad)
}

// spec writes about half of all settings.
func (l *layouts) spec() string {
	step := strings.Repeat(" ", 1+l.Intn(4))
	if l.maybe(4) {
		l.WriteString("--- " + l.comment() + "\n")
	}
	for _, top := range l.Perm(len(tops)) {
		if k := tops[top]; l.maybe(3) {
			continue
		} else if k.Section {
			l.section(k, step)
		} else {
			l.head("")
			l.setting(k, "", step)
		}
	}
	if l.maybe(3) {
		l.WriteString(l.comment() + "\n")
	}
	return l.String()
}

func (l *layouts) section(k Key, step string) {
	l.head("")
	l.WriteString(k.Path + ":")
	keys := keysBelow(k.typ, k.Path)
	switch l.Intn(4) {
	case 0: // in braces, maybe over lines
		l.WriteString(" {")
		for i, k := range keys[:1+l.Intn(len(keys))] {
			if i > 0 {
				l.WriteString(",")
			}
			if l.maybe(3) {
				l.tail()
				l.head(step)
			}
			l.WriteString(" " + last(k) + ": " + l.inBraces(k))
		}
		l.WriteString(" }")
		l.tail()
	case 1: // empty
		l.WriteString([]string{"", " {}", " ~"}[l.Intn(3)])
		l.tail()
	default:
		l.tail()
		for _, k := range keys {
			switch {
			case !l.maybe(2):
			case k.Section:
				l.head(step)
				l.WriteString(last(k) + ":")
				l.tail()
				for _, k := range keysBelow(k.typ, k.Path) {
					l.head(step + step)
					l.setting(k, step+step, step)
				}
			default:
				l.head(step)
				l.setting(k, step, step)
			}
		}
	}
	if l.maybe(4) {
		l.WriteString(step + l.comment() + "\n")
	}
}

// inBraces is a value, or a section in a section, on one line.
func (l *layouts) inBraces(k Key) string {
	if !k.Section {
		return l.value(k).text
	}
	var inner []string
	for _, k := range keysBelow(k.typ, k.Path) {
		inner = append(inner, last(k)+": "+l.value(k).text)
	}
	return "{" + strings.Join(inner, ", ") + "}"
}

func last(k Key) string { return k.Path[strings.LastIndexByte(k.Path, '.')+1:] }

func (l *layouts) value(k Key) wanted {
	all := samples()[k.Path]
	w, err := target{Key: k}.wanted(strings.Trim(all[l.Intn(len(all))], "'"))
	if err != nil {
		panic(err)
	}
	return w
}

func (l *layouts) setting(k Key, pad, step string) {
	l.WriteString(last(k) + ":")
	w := l.value(k)
	switch {
	case k.List() && len(w.items) > 0 && l.maybe(2):
		l.tail()
		dash := pad + step
		if l.maybe(3) {
			dash = pad // as YAML allows
		}
		for _, item := range w.items {
			l.head(dash)
			l.WriteString("- " + item)
			l.tail()
		}
		return
	case k.List() && len(w.items) > 0 && l.maybe(3):
		l.WriteString(" [")
		for _, item := range w.items {
			l.tail()
			l.WriteString(pad + step + item + ",")
		}
		l.tail()
		l.WriteString(pad + step + "]")
	case k.Map() && !isSection(k.typ.Elem()) && w.value.Len() > 0 && l.maybe(2):
		l.tail()
		for _, name := range mapKeys(w.value) {
			l.head(pad + step)
			l.WriteString(name + ": " + scalarText(w.value.MapIndex(reflect.ValueOf(name))))
			l.tail()
		}
		return
	case !k.List() && !k.Map() && isWord(k.typ) && l.maybe(3):
		l.WriteString(" '" + bare(w.value) + "'")
	default:
		l.WriteString(strings.Repeat(" ", 1+l.Intn(2)) + w.text)
	}
	l.tail()
}

// tops are the keys of the first level.
var tops = slices.DeleteFunc(Keys(), func(k Key) bool { return strings.Contains(k.Path, ".") })

// TestLayouts makes random changes to files in random layouts. Each must come out,
// change nothing else, and keep every comment.
func TestLayouts(t *testing.T) {
	all := samples()
	paths := mapKeys(reflect.ValueOf(all))
	for seed := range int64(200) {
		l := &layouts{Rand: rand.New(rand.NewSource(seed))}
		before := l.spec()
		if _, p := tree("", []byte(before)); p != nil {
			t.Fatalf("seed %d: the test's own text is wrong: %v\n%s", seed, p, before)
		}
		text := []byte(before)
		for range 5 {
			path := paths[l.Intn(len(paths))]
			value := strings.Trim(all[path][l.Intn(len(all[path]))], "'")
			if l.maybe(3) {
				value = ""
			}
			to, _ := find(path)
			want := decoded(text)
			w := wanted{}
			if value != "" {
				w, _ = to.wanted(value)
			}
			to.put(want, w.value)
			out, err := Set(text, path, value)
			if err != nil {
				t.Fatalf("seed %d: %s=%s: %v in\n%s", seed, path, value, err, text)
			}
			if got := decoded(out); meaning(got) != meaning(want) {
				t.Fatalf("seed %d: %s=%s gives\n%s\nfrom\n%s", seed, path, value, out, text)
			}
			for _, c := range l.comments {
				if !strings.Contains("\n"+string(out), "\n"+c+"\n") && !strings.Contains(string(out), " "+c+"\n") {
					t.Fatalf("seed %d: %s=%s loses %s:\n%s\nfrom\n%s", seed, path, value, c, out, text)
				}
			}
			text = out
		}
	}
}
