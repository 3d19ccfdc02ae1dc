package imagetool

import (
	"context"
	"encoding/binary"
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
	taskFD               // 8 bytes in the machine's order: what was read of the packed stream, below 0 when it is not; then a task.Task
)

// unpack does a task and writes its task.Outcome. It has nothing of the host then but
// the directory.
func unpack(ctx context.Context, in io.Reader, out io.Writer) error {
	syscall.Close(programFD)
	text := os.NewFile(taskFD, "task")
	var t task.Task
	if err := json.NewDecoder(io.NewSectionReader(text, 8, maxTask)).Decode(&t); err != nil {
		return err
	}
	if err := enclose(t.Options); err != nil {
		return err
	}
	packed := func() int64 {
		var n [8]byte
		text.ReadAt(n[:], 0)
		return int64(binary.NativeEndian.Uint64(n[:]))
	}
	if packed() < 0 { // it is not
		packed = nil
	}
	return json.NewEncoder(out).Encode(t.Do(ctx, file.DirOf(rootFD, t.Root), in, packed))
}

// maxTask bounds a task in bytes: the names of all devices of a hostile image.
const maxTask = 64 << 20
