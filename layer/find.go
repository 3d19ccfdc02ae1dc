package layer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"vserver/kernel/file"
)

// maxLinks is how many symbolic links a path may go through, as the kernel has it
// (path_resolution(7)).
const maxLinks = 40

// Find gives the path, without links, of what p leads to for a process whose root is the
// tree: a link's way begins at the tree's root or stays below it. fs.ErrNotExist when it
// leads nowhere.
func Find(root *file.Dir, p string) (string, error) {
	todo, at := strings.Split(p, "/"), "."
	for links := 0; len(todo) > 0; {
		word := todo[0]
		todo = todo[1:]
		switch word {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, word)
		target, st, err := look(root, next)
		switch {
		case err != nil:
			return "", err
		case st.Type() != file.TypeLink:
			if st.Type() != file.TypeDir && len(todo) > 0 {
				return "", fmt.Errorf("%s: %w", next, fs.ErrNotExist)
			}
			at = next
		case links == maxLinks:
			return "", fmt.Errorf("%s: more than %d links: %w", p, maxLinks, ErrOdd)
		default:
			links++
			if strings.HasPrefix(target, "/") {
				at = "."
			}
			todo = append(strings.Split(target, "/"), todo...)
		}
	}
	return at, nil
}

// look looks at a path that has no links on its way.
func look(root *file.Dir, p string) (target string, st file.Stat, err error) {
	d, name, err := root.Parent(p)
	if err != nil {
		return "", st, err
	}
	defer d.Close()
	if st, err = d.Stat(name); err == nil && st.Type() == file.TypeLink {
		target, err = d.Readlink(name)
	}
	return target, st, err
}

// Content gives at most max bytes of the beginning of the regular file that p leads to in
// a tree; nil when it leads to none.
func Content(root *file.Dir, p string, max int64) ([]byte, error) {
	at, err := Find(root, p)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrOdd) || at == "." {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, name, err := root.Parent(at)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return begin(d, name, max)
}

// begin reads the beginning of an entry; nothing of one that is no regular file.
func begin(d *file.Dir, name string, max int64) ([]byte, error) {
	if st, err := d.Stat(name); err != nil || st.Type() != file.TypeFile {
		return nil, err
	}
	f, err := d.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, max))
}
