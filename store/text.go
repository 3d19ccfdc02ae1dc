package store

import (
	"vserver/guest"
	"vserver/store/settings"
)

// Parse reads the text of a spec, as settings.Parse does.
func Parse(file string, text []byte) (*guest.Spec, error) { return settings.Parse(file, text) }

// Set changes one setting in the text of a spec, as settings.Set does.
func Set(text []byte, path, value string) ([]byte, error) { return settings.Set(text, path, value) }
