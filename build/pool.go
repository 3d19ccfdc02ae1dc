package build

import "context"

// Image is the files of an image that the pool has; name may be a tag, or a plain name
// that means the newest version. It has no Fill: who has the pool knows how.
func Image(name string) Source {
	return Source{
		Method: "image", Text: name, Image: name,
		Name: func(context.Context) (string, error) { return name, nil },
	}
}
