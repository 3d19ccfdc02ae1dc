package build

import (
	"context"

	"vserver/image"
	"vserver/kernel/file"
)

// Template unpacks an archive or an image of strangers'.
func Template(from image.From) Source {
	i := image.Open(from)
	text := i.Path
	if text == "" {
		text = i.Ref
	}
	return Source{
		Method: "template", Text: text, Program: i.Config,
		Name: func(ctx context.Context) (string, error) {
			word, id, err := i.ID(ctx)
			return imageName([]string{word}, "template 1", id), err
		},
		Fill: func(ctx context.Context, dir string, p Progress) error {
			if err := i.Unpack(ctx, dir, p.Say); err != nil {
				return err
			}
			d, err := file.OpenDir(dir)
			if err != nil {
				return err
			}
			defer d.Close()
			return mkdirs(d, mountPoints)
		},
	}
}

// mountPoints are what a guest's root must have to be mounted on.
var mountPoints = []string{"dev 755", "proc 555", "sys 555", "run 755", "tmp 1777"}
