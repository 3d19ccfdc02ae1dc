package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/store/settings"
)

func newEdit(t *tool) *cobra.Command {
	return command("edit NAME", `
Opens a copy of the guest's spec in $VISUAL, $EDITOR or vi. What was written is
checked before it takes the spec's place; when it is wrong, the editor can be
opened again, or the text stays in a file that is named. What is changed counts
from the next start.`, `
vserver web1 edit`,
		func(ctx context.Context, args []string) error { return t.edit(ctx, args) })
}

// edit lets the user edit a spec.
func (t *tool) edit(ctx context.Context, args []string) error {
	n, err := t.single(args)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(t.host.Dirs.Spec(n))
	if os.IsNotExist(err) {
		_, err = t.host.Edit(n, nil) // says what there is in place of a spec
	}
	if err != nil {
		return t.about(n, err)
	}
	file, err := draft(n, before)
	if err != nil {
		return t.about(n, err)
	}
	for {
		failed := t.openEditor(ctx, file)
		after, err := os.ReadFile(file)
		switch {
		case err != nil:
			return t.about(n, err)
		case failed != nil && bytes.Equal(before, after):
			return t.about(n, errors.Join(failed, os.Remove(file)))
		case failed != nil:
			return t.about(n, kept(failed, file))
		case bytes.Equal(before, after):
			fmt.Fprintf(t.err, "%s: unchanged\n", n)
			return os.Remove(file)
		}
		c, err := t.host.Edit(n, after)
		if err == nil {
			return join(os.Remove(file), t.sayChange(n, c))
		}
		t.say(t.about(n, inFile(err, t.host.Dirs.Spec(n), file)))
		if !t.confirm("Edit again?") {
			return t.about(n, kept(fmt.Errorf("the spec stays as it was: %w", guest.ErrInvalid), file))
		}
	}
}

// draft makes the file that is edited. Its name ends as the spec's, so that editors
// know the language.
func draft(n guest.Name, text []byte) (string, error) {
	f, err := os.CreateTemp("", string(n)+".*.yaml")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return f.Name(), err
}

// inFile names the file that was edited as the place of what is wrong with it, in place
// of the spec that it was to become.
func inFile(err error, spec, file string) error {
	var all settings.Problems
	if !errors.As(err, &all) {
		return err
	}
	all = slices.Clone(all)
	for i := range all {
		if all[i].File == spec {
			all[i].File = file
		}
	}
	return all
}

// kept says in which file the user's text is.
func kept(err error, file string) error { return fault.Hint(err, "what you wrote is in "+file) }

// openEditor runs the user's editor on the file. The variables hold a command line,
// as "code --wait", so a shell reads it.
func (t *tool) openEditor(ctx context.Context, file string) error {
	const vi = "vi"
	editor := vi
	for _, v := range []string{"EDITOR", "VISUAL"} {
		if s := os.Getenv(v); s != "" {
			editor = s
		}
	}
	if editor == vi && !isTerminal(t.in) {
		return usageHint("vserver set --help", "vi wants a terminal; other programs can stand in $EDITOR")
	}
	c := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, filepath.Base(editor), file)
	c.Stdin, c.Stdout, c.Stderr = t.in, t.out.File, t.err
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", editor, err)
	}
	return nil
}
