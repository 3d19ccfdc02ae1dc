package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

// imageFlags are the options of all that is done with images.
type imageFlags struct {
	buildFlags
	guest, arch, output     string
	zstd, gzip, unused, dry bool
}

func newImage(t *tool) *cobra.Command {
	var f imageFlags
	c := command("image ACTION [IMAGE...] [OPTION...]", `
Deals with the images that guests' roots lie over: trees that never change. An image is
called NAME@VERSION; a plain NAME is the newest for this machine, or what a tag of that
name says. A new one without a version gets the day's.

  list                    the images, and who uses them
  show IMAGE              all that is known of one
  build NAME              make one, by debootstrap or another --method
  import NAME SOURCE      make one from a tar archive (- is standard input),
                          an OCI image or one of a registry, or with --guest
                          from a guest
  tag IMAGE NAME[@WORD]   make a word mean this image from now on
  untag NAME[@WORD]       make it mean nothing
  export IMAGE            write one as a tar archive, packed for --output
                          *.zst and *.gz
  delete IMAGE...         remove some; one that a guest may use is refused
  gc                      remove what killed operations left, or --unused ones
  verify [IMAGE...]       read images again, and tell which have changed

vserver build --image NAME makes a guest upon one, vserver rebase gives a guest another.`, `
vserver image build bookworm --debian bookworm
vserver image import app@1.4 registry.example/app:1.4
vserver image import web --guest web1
vserver image tag bookworm@20261124 bookworm@stable
vserver image export bookworm -o bookworm.tar.zst
vserver image gc --unused --dry-run
vserver image list --json`,
		func(ctx context.Context, args []string) error { return t.image(ctx, f, args) })
	fl := c.Flags()
	fl.StringVarP(&f.method, "method", "m", "", "build: `METHOD`: debootstrap, template, rsync or skeleton")
	fl.StringVarP(&f.debian, "debian", "d", "", "build: `SUITE` for debootstrap: bookworm, trixie, sid, ...")
	fl.StringVar(&f.mirror, "mirror", "", "build: `URL` of the mirror for debootstrap")
	fl.StringVar(&f.variant, "variant", "", "build: `VARIANT` of debootstrap, such as minbase")
	fl.StringSliceVar(&f.packages, "packages", nil, "build: further `PACKAGES` for debootstrap (repeatable)")
	fl.StringVarP(&f.template, "template", "t", "", "build: `FILE`, directory or registry reference to unpack")
	fl.StringVar(&f.from, "from", "", "build: `SOURCE` to copy: a directory, or root@HOST:DIR")
	fl.StringVar(&f.guest, "guest", "", "import: `NAME` of a guest to take the files of, as commit does")
	fl.StringVar(&f.arch, "arch", "", "import: `MACHINE` that it is for: amd64, arm64, ...")
	fl.StringVarP(&f.output, "output", "o", "-", "export: `FILE` to write, - for standard output")
	fl.BoolVar(&f.zstd, "zstd", false, "export: pack by zstd")
	fl.BoolVar(&f.gzip, "gzip", false, "export: pack by gzip")
	fl.BoolVar(&f.unused, "unused", false, "gc: old versions too that no guest uses and no tag means")
	fl.BoolVarP(&f.dry, "dry-run", "n", false, "gc: only tell what would be removed")
	c.ValidArgsFunction = t.completeImages
	return c
}

// imageAction is one thing that is done with images, and how many words it wants.
type imageAction struct {
	name, text string
	min, max   int
	do         func(context.Context, []string) error
}

// imageActions lists them all.
func (t *tool) imageActions(f imageFlags) []imageAction {
	const lots = 1 << 20
	return []imageAction{
		{"list", "the images and who uses them", 0, 0, func(context.Context, []string) error { return t.imageList() }},
		{"show", "all that is known of one", 1, 1, func(_ context.Context, a []string) error { return t.imageShow(a[0]) }},
		{"build", "make one by debootstrap or another method", 1, 1, func(ctx context.Context, a []string) error { return t.imageBuild(ctx, f, a[0]) }},
		{"import", "make one from an archive, a registry or a guest", 1, 2, func(ctx context.Context, a []string) error { return t.imageImport(ctx, f, a) }},
		{"tag", "make a word mean an image", 2, 2, func(ctx context.Context, a []string) error { return hintImages(host.TagImage(ctx, t.host, a[0], a[1])) }},
		{"untag", "make a word mean nothing", 1, 1, func(ctx context.Context, a []string) error { return host.TagImage(ctx, t.host, "", a[0]) }},
		{"export", "write one as a tar archive", 1, 2, func(ctx context.Context, a []string) error { return t.imageExport(ctx, f, a) }},
		{"delete", "remove images that nobody uses", 1, lots, func(_ context.Context, a []string) error { return t.imageDelete(a) }},
		{"gc", "remove what nobody needs", 0, 0, func(context.Context, []string) error { return t.imageCollect(f) }},
		{"verify", "tell which images are not what they were", 0, lots, t.imageVerify},
	}
}

// image does something with images.
func (t *tool) image(ctx context.Context, f imageFlags, args []string) error {
	if t.subject != "" {
		return usageHint("vserver image list", "%s: an image is no part of a guest", t.subject)
	}
	if len(args) == 0 {
		args = []string{"list"}
	}
	var names []string
	for _, a := range t.imageActions(f) {
		if a.name == args[0] {
			if n := len(args) - 1; n < a.min || n > a.max {
				few := map[bool]string{true: "few", false: "many"}[n < a.min]
				return usageHint("vserver image --help", "%s: too %s words behind it", a.name, few)
			}
			return t.about("", a.do(ctx, args[1:]))
		}
		names = append(names, a.name)
	}
	return usageHint("vserver image --help", "%s: want %s", args[0], strings.Join(names, ", "))
}

// imageJSON is an image as --json prints it: an interface, scripts read it.
type imageJSON struct {
	Name         string       `json:"name"`
	Method       string       `json:"method"`
	Source       string       `json:"source"`
	Made         time.Time    `json:"made"`
	Guests       []guest.Name `json:"guests"`
	Tags         []string     `json:"tags"`
	Distribution string       `json:"distribution"`
	Release      string       `json:"release"`
	Arch         string       `json:"arch"`
	Origin       string       `json:"origin"`
	Digest       string       `json:"digest"`
	Files        int64        `json:"files"`
	Bytes        int64        `json:"bytes"`
}

func jsonOfImage(im host.Image) imageJSON {
	return imageJSON{
		im.Name, im.Method, im.Source, im.Made, append([]guest.Name{}, im.Guests...), append([]string{}, im.Tags...),
		im.Distribution, im.Release, im.Arch, im.Origin, im.Digest, im.Files, im.Bytes,
	}
}

// joinedNames gives the names of some guests, and how many more there are.
func joinedNames(names []guest.Name, few int) string {
	var words []string
	for _, n := range names {
		words = append(words, string(n))
	}
	if len(words) == 0 {
		return "-"
	}
	return joined(words, few)
}

func (t *tool) imageList() error {
	all, err := host.Images(t.host)
	if err != nil {
		return err
	}
	list := make([]imageJSON, len(all))
	rows := [][]string{{"IMAGE", "METHOD", "MADE", "GUESTS", "TAGS", "SOURCE"}}
	for i, im := range all {
		list[i] = jsonOfImage(im)
		tags := "-"
		if len(im.Tags) > 0 {
			tags = strings.Join(im.Tags, ", ")
		}
		const few = 4
		rows = append(rows, []string{
			im.Name, im.Method, im.Made.Local().Format(time.DateOnly), joinedNames(im.Guests, few), tags, fault.Plain(im.Source),
		})
	}
	if t.json {
		return writeJSON(t.out, list)
	}
	_, err = t.out.WriteString(columns(rows))
	return err
}

func (t *tool) imageShow(word string) error {
	im, err := host.ShowImage(t.host, word)
	if err != nil {
		return hintImages(err)
	}
	if t.json {
		return writeJSON(t.out, jsonOfImage(im))
	}
	const many = 40
	rows := [][]string{
		{"Image", im.Name},
		{"Tags", strings.Join(im.Tags, ", ")},
		{"Guests", joinedNames(im.Guests, many)},
		{"Distribution", strings.TrimSpace(im.Distribution + " " + im.Release)},
		{"Architecture", im.Arch},
		{"Made", im.Made.Local().Format(time.DateTime)},
		{"Method", im.Method},
		{"Source", fault.Plain(im.Source)},
		{"Origin", fault.Plain(im.Origin)},
		{"Digest", im.Digest},
		{"Files", fmt.Sprint(im.Files)},
		{"Size", guest.Bytes(im.Bytes).String()},
	}
	if im.Program != nil && len(im.Program.Command) > 0 {
		rows = append(rows, []string{"Runs", fault.Plain(strings.Join(im.Program.Command, " "))})
	}
	rows = slices.DeleteFunc(rows, func(r []string) bool { return r[1] == "" })
	_, err = t.out.WriteString(columns(rows))
	return err
}

func (t *tool) imageDelete(names []string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, t.about("", hintImages(host.RemoveImage(t.host, name))))
	}
	return join(errs...)
}

func hintImages(err error) error {
	return fault.Hint(err, "vserver image list shows the images, and whose roots they are")
}

// completeImages offers what can follow: the actions, then names of images.
func (t *tool) completeImages(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var words []string
	switch {
	case len(args) == 0:
		for _, a := range t.imageActions(imageFlags{}) {
			words = append(words, a.name+"\t"+a.text)
		}
	case len(args) == 1 && (args[0] == "import" || args[0] == "build"):
	case args[0] == "import", args[0] == "export" && len(args) > 1:
		return nil, cobra.ShellCompDirectiveDefault // files
	default:
		words = t.imageNames()
	}
	return matching(words, begun), cobra.ShellCompDirectiveNoFileComp
}

// imageNames are the images and the tags, for completion.
func (t *tool) imageNames() (words []string) {
	all, err := host.Images(t.host)
	if err != nil {
		return nil
	}
	for _, im := range all {
		words = append(append(words, im.Name), im.Tags...)
	}
	return words
}

// matching gives the words that begin so.
func matching(words []string, begun string) (out []string) {
	for _, w := range words {
		if strings.HasPrefix(w, begun) {
			out = append(out, w)
		}
	}
	return out
}
