package settings

import (
	"go.yaml.in/yaml/v3"

	"vserver/guest"
)

// Value gives the value of a key in plain maps, lists, texts and numbers, under the
// names that it has in a file: what JSON is made of. The key "" is the whole spec.
func Value(spec *guest.Spec, path string) (any, error) {
	text, err := Get(spec, path)
	if err != nil {
		return nil, err
	}
	var v any
	err = yaml.Unmarshal([]byte(text), &v)
	return v, err
}
