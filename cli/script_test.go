package cli_test

import (
	"testing"

	"vserver/internal/script"
)

// TestScript runs the manual: each file drives the real program under its names.
func TestScript(t *testing.T) { script.Run(t, "testdata/script") }
