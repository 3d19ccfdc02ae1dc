package cli

import (
	"cmp"
	"slices"
	"strings"

	"vserver/store/settings"
)

// section is some options under a title.
type section struct {
	title, doc string
	further    bool // only for those who ask for all
	options    []option
}

// heading is the title, and what it is about.
func (s section) heading() string {
	if s.doc == "" {
		return s.title
	}
	return "Settings of " + s.title + " (" + s.doc + ")"
}

// sections are the options of a page: first its own, then the settings that most guests
// are given, then the others by the section of the spec that they stand in.
func (p page) sections() []section {
	list := []section{{title: "Options"}, {title: "Settings most used"}, {title: "guest", doc: "who it is, and how it is kept running", further: true}}
	often := oftenSet()
	for _, k := range settings.Keys() {
		if k.Section && !strings.Contains(k.Path, ".") {
			list = append(list, section{title: k.Path, doc: k.Doc, further: true})
		}
	}
	for _, o := range p.options {
		top, _, below := strings.Cut(o.setting, ".")
		i := 2
		switch {
		case o.setting == "":
			i = 0
		case slices.Contains(often, o.long):
			i = 1
		case below:
			i = slices.IndexFunc(list, func(s section) bool { return s.title == top })
		}
		list[i].options = append(list[i].options, o)
	}
	slices.SortStableFunc(list[1].options, func(a, b option) int {
		return cmp.Compare(slices.Index(often, a.long), slices.Index(often, b.long))
	})
	return slices.DeleteFunc(list, func(s section) bool { return len(s.options) == 0 })
}

// oftenSet are the settings, by their flags, that help shows before all others.
func oftenSet() []string {
	return []string{
		"ip", "network", "publish", "dns", "memory", "cpus", "disk", "pids", "mounts",
		"init", "command", "env", "mark", "depends", "restart", "hostname", "xid",
	}
}
