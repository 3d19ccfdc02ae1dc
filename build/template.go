package build

import (
	"context"

	"vserver/image"
)

// Template unpacks an archive or an image of strangers'.
func Template(from image.From) Source {
	i := image.Open(from)
	text := i.Path
	if text == "" {
		text = i.Ref
	}
	return Source{
		Method: "template", Text: text,
		Name: func(ctx context.Context) (string, error) {
			word, id, err := i.ID(ctx)
			return imageName([]string{word}, "template 1", id), err
		},
		Fill: func(ctx context.Context, dir string, p Progress) error {
			return fullDisk(i.Unpack(ctx, dir, p.Say), dir)
		},
	}
}
