package build

import (
	"context"
	"os/exec"

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
	var word, id string // once it was asked: an archive is read, a registry spoken to
	origin := func(ctx context.Context) (_ string, err error) {
		if id == "" {
			word, id, err = i.ID(ctx)
		}
		return id, err
	}
	return Source{
		Method: "template", Text: text, Program: i.Config, Origin: origin,
		Within: func(start func(*exec.Cmd) error) { i.Tool.Start = start },
		Name: func(ctx context.Context) (string, error) {
			id, err := origin(ctx)
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
