package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vserver/host"
)

func newVdu(t *tool) *cobra.Command {
	var s selection
	c := command("vdu [NAME...] [OPTION...]", `
Tells what guests' files take of the disk: PRIVATE is what would be free without the
guest, SHARED what is in the files that it has in common with images and other guests beneath
its own layer, APPARENT the sizes of all its files, holes counted. PRIVATE is in blocks, of
which the smallest file takes one. Without a name, all guests. Blocks that are shared by
reflinks count as the guest's own.`, `
vserver vdu
vserver web1 vdu
vserver vdu --json`,
		func(ctx context.Context, args []string) error { return t.vdu(ctx, s, args) })
	s.flags(c)
	return c
}

func (t *tool) vdu(ctx context.Context, s selection, args []string) error {
	if len(args) == 0 && t.subject == "" && !s.several() {
		s.all = true
	}
	names, unread := t.pick(s, args)
	spaces, err := host.Spaces(ctx, t.host, names)
	errs := []error{unread}
	if each, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range each.Unwrap() {
			errs = append(errs, t.about("", e))
		}
	} else {
		errs = append(errs, err)
	}
	var sum host.Space
	rows := [][]string{{"GUEST", "PRIVATE", "SHARED", "APPARENT"}}
	list := []host.Space{}
	for _, s := range spaces {
		if s.Apparent+s.Private+s.Shared == 0 && err != nil {
			continue // what is wrong with it is told
		}
		list = append(list, s)
		sum.Private, sum.Apparent = sum.Private+s.Private, sum.Apparent+s.Apparent
		rows = append(rows, []string{string(s.Guest), mebibytes(s.Private), mebibytes(s.Shared), mebibytes(s.Apparent)})
	}
	if t.json {
		errs = append(errs, writeJSON(t.out, list))
		return join(errs...)
	}
	if len(list) > 1 {
		rows = append(rows, []string{"(sum)", mebibytes(sum.Private), "", mebibytes(sum.Apparent)})
	}
	if len(list) > 0 {
		_, err := t.out.WriteString(columns(rows))
		errs = append(errs, err)
	}
	return join(errs...)
}
