package schema

import (
	"fmt"
	"strings"

	"vserver/store/settings"
)

// Manual gives the page about the settings, in Markdown.
func Manual() []byte {
	var b strings.Builder
	b.WriteString(`# Settings of a guest

What is wanted of a guest stands in /etc/vservers/NAME.yaml. The file is written by
` + "`vserver build`" + ` and ` + "`vserver create`" + `; any editor will do to change it, and

    vserver web1 set limits.memory=512M        one setting, comments stay
    vserver web1 set network.addresses+=192.0.2.11/24
    vserver web1 set limits.memory=            back to the default
    vserver web1 edit                          the whole file, checked before it counts
    vserver web1 config limits.memory          what a setting is, default filled in

Keys that are not known, values of the wrong kind, and settings that contradict each
other or clash with another guest are refused, with line and column. What is changed
counts from the guest's next start.

Sizes are bytes, or have K, M, G or T for powers of 1024. Time spans are seconds, or
have ms, s, m or h. Lists are written ` + "`[one, two]`" + ` or with a line and a ` + "`-`" + ` for each.
doc/schema.json describes the same to editors; a first line

    # yaml-language-server: $schema=PATH-OR-URL-OF-schema.json

makes those that know the YAML language server complete and check while you type.

`)
	for _, k := range settings.Keys() {
		if k.Section {
			fmt.Fprintf(&b, "\n## %s\n\n%s.\n", k.Path, sentence(k.Doc))
			continue
		}
		fmt.Fprintf(&b, "\n**`%s`**: %s", k.Path, k.Type())
		if k.Default != "" {
			fmt.Fprintf(&b, "; default: %s", k.Default)
		}
		doc := sentence(k.Doc)
		if k.Values != nil {
			doc = k.Doc // begins with one of them
		}
		fmt.Fprintf(&b, "\\\n%s.\n", doc)
	}
	return []byte(b.String())
}

func sentence(doc string) string {
	return strings.ToUpper(doc[:1]) + strings.TrimSuffix(doc[1:], ".")
}
