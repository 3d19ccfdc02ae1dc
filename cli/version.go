package cli

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func newVersion(t *tool) *cobra.Command {
	return command("version", `
Shows the version, and the Go release and the platform it was built with.`, `
vserver version
vserver --version`,
		func(context.Context, []string) error { return t.showVersion() })
}

// showVersion prints the version.
func (t *tool) showVersion() error {
	if t.json {
		return writeJSON(t.out, map[string]string{
			"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	_, err := fmt.Fprintf(t.out, "vserver %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
