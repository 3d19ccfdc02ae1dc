package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// settings are what a package wants of its machine.
type settings struct {
	modules  []string
	programs []string
	disks    []int64 // bytes
	onDisk   []string
	memory   int // MiB
	parts    int
	cuts     int
	patience time.Duration
	silence  time.Duration // five times what the slowest of tests takes to say something
}

// readSettings reads a package's vm.conf; without one, it wants nothing special.
func readSettings(path string) (settings, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return parseSettings(strings.NewReader(""))
	}
	if err != nil {
		return settings{}, err
	}
	defer f.Close()
	s, err := parseSettings(f)
	if err != nil {
		err = fmt.Errorf("%s:%w", path, err)
	}
	return s, err
}

// parseSettings reads a vm.conf. Errors begin with the line's number.
func parseSettings(r io.Reader) (settings, error) {
	s := settings{memory: 2048, patience: 10 * time.Minute, silence: 4 * time.Minute}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 2 {
			return s, fmt.Errorf("%d: want a word and a value", n)
		}
		if err := s.set(f[0], f[1]); err != nil {
			return s, fmt.Errorf("%d: %w", n, err)
		}
	}
	return s, lines.Err()
}

func (s *settings) set(word, value string) error {
	switch word {
	case "module":
		s.modules = append(s.modules, value)
		return nil
	case "program":
		s.programs = append(s.programs, value)
		return nil
	case "ondisk":
		s.onDisk = append(s.onDisk, value)
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return fmt.Errorf("%s %s: want a positive number", word, value)
	}
	switch word {
	case "disk":
		s.disks = append(s.disks, int64(n)<<20)
	case "memory":
		s.memory = n
	case "parts":
		s.parts = n
	case "cuts":
		s.cuts = n
	case "seconds":
		s.patience = time.Duration(n) * time.Second
	default:
		return fmt.Errorf("%s: want module, program, ondisk, disk, memory, parts, cuts or seconds", word)
	}
	return nil
}
