package imagetool

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"syscall"

	"vserver/archive/task"
	"vserver/kernel/file"
)

// What the program is given to unpack, beside the tar stream on its standard input.
const (
	programFD = 3 + iota // itself
	rootFD               // the directory
	taskFD               // what task.Read reads
)

// unpack does a task and writes its task.Outcome. It has nothing of the host then but
// the directory.
func unpack(ctx context.Context, in io.Reader, out io.Writer) error {
	syscall.Close(programFD)
	t, packed, err := task.Read(os.NewFile(taskFD, "task"))
	if err != nil {
		return err
	}
	if err := enclose(t.Options); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(t.Do(ctx, file.DirOf(rootFD, t.Root), in, packed))
}
