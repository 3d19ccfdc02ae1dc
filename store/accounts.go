package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Range is a range of ids of the host that belongs to somebody.
type Range struct {
	From, To uint32 // both inclusive
	// Owner says whose it is and where that is written: "alice (/etc/subuid:3)".
	Owner string
}

func (r Range) overlaps(o Range) bool { return r.From <= o.To && o.From <= r.To }

// Accounts gives the ids above 65535 that the files in etc have given to the host's
// own users and groups: /etc/passwd and /etc/group one each, /etc/subuid and
// /etc/subgid in ranges. Files that are missing give none, and lines that are no
// records are passed over, as the C library does.
func Accounts(etc string) ([]Range, error) {
	var all []Range
	for _, f := range []struct {
		name  string
		parse func(r io.Reader, file string) ([]Range, error)
	}{{"passwd", parseIDs}, {"group", parseIDs}, {"subuid", parseRanges}, {"subgid", parseRanges}} {
		path := filepath.Join(etc, f.name)
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ranges, err := f.parse(file, path)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, ranges...)
	}
	return all, nil
}

// parseIDs reads lines of passwd(5) or group(5), where the third field is the id.
func parseIDs(r io.Reader, file string) ([]Range, error) {
	return parseColons(r, file, func(f []string) (from, count uint64, ok bool) {
		if len(f) < 4 {
			return 0, 0, false
		}
		id, err := strconv.ParseUint(f[2], 10, 32)
		return id, 1, err == nil
	})
}

// parseRanges reads lines of subuid(5): name, first id, count.
func parseRanges(r io.Reader, file string) ([]Range, error) {
	return parseColons(r, file, func(f []string) (from, count uint64, ok bool) {
		if len(f) != 3 {
			return 0, 0, false
		}
		from, err := strconv.ParseUint(f[1], 10, 32)
		count, err2 := strconv.ParseUint(f[2], 10, 33)
		return from, count, err == nil && err2 == nil
	})
}

func parseColons(r io.Reader, file string, record func([]string) (from, count uint64, ok bool)) ([]Range, error) {
	var out []Range
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Split(strings.TrimSpace(lines.Text()), ":")
		from, count, ok := record(fields)
		last := from + count - 1
		if !ok || count == 0 || strings.HasPrefix(fields[0], "#") || last < firstOurs {
			continue
		}
		out = append(out, Range{
			From: uint32(from), To: uint32(min(last, math.MaxUint32)),
			Owner: fmt.Sprintf("%s (%s:%d)", fields[0], file, n),
		})
	}
	return out, lines.Err()
}

// firstOurs is the first id of a guest; those below are the host's own.
const firstOurs = 65536
