package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"
)

// module is a loadable part of a kernel. A kernel package has no modules.dep (its
// installation would make it), so what a module needs is read from itself.
type module struct {
	name    string // with underscores, as the kernel spells it
	depends []string
	aliases []string // what the kernel asks for when it wants the module
	data    []byte
}

// moduleSet is the modules of one kernel, read when they are wanted.
type moduleSet map[string]string // path by name

// findModules lists the modules below dir.
func findModules(dir string) (moduleSet, error) {
	set := moduleSet{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if base, ok := moduleName(path); ok {
			set[base] = path
		}
		return err
	})
	if err == nil && len(set) == 0 {
		err = fmt.Errorf("%s: no modules", dir)
	}
	return set, err
}

// moduleName gives the module's name from its path.
func moduleName(path string) (string, bool) {
	base := strings.TrimSuffix(filepath.Base(path), ".xz")
	name, ok := strings.CutSuffix(base, ".ko")
	return strings.ReplaceAll(name, "-", "_"), ok
}

// resolve gives the named modules and all that they need, each after what it needs
// itself. What the kernel has built in is left out.
func (s moduleSet) resolve(names []string) ([]module, error) {
	var out []module
	done := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		path, ok := s[name]
		if done[name] || !ok {
			return nil
		}
		done[name] = true
		m, err := readModule(path)
		if err != nil {
			return err
		}
		for _, d := range m.depends {
			if err := visit(d); err != nil {
				return err
			}
		}
		out = append(out, m)
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// readModule reads a module and what its section .modinfo says.
func readModule(path string) (module, error) {
	f, err := os.Open(path)
	if err != nil {
		return module{}, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".xz") {
		if r, err = xz.NewReader(f); err != nil {
			return module{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return module{}, fmt.Errorf("%s: %w", path, err)
	}
	object, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return module{}, fmt.Errorf("%s: %w", path, err)
	}
	section := object.Section(".modinfo")
	if section == nil {
		return module{}, fmt.Errorf("%s: no .modinfo", path)
	}
	info, err := section.Data()
	if err != nil {
		return module{}, fmt.Errorf("%s: %w", path, err)
	}
	m := module{data: data}
	m.name, _ = moduleName(path)
	m.depends, m.aliases = parseModinfo(string(info))
	return m, nil
}

// parseModinfo reads "key=value" strings that end in NUL.
func parseModinfo(info string) (depends, aliases []string) {
	for field := range strings.SplitSeq(info, "\x00") {
		key, value, _ := strings.Cut(field, "=")
		switch {
		case value == "":
		case key == "depends":
			depends = strings.Split(value, ",")
		case key == "alias":
			aliases = append(aliases, value)
		}
	}
	return depends, aliases
}

// moduleTable says, for each word by which the kernel may ask, which modules to load
// in which order: "fs-ext4 crc16 mbcache jbd2 ext4" a line. Aliases with wildcards
// are for devices found on a bus; there are none that matter here.
func moduleTable(modules []module) string {
	byName := map[string]module{}
	for _, m := range modules {
		byName[m.name] = m
	}
	var order func(name string) []string
	order = func(name string) []string {
		var out []string
		for _, d := range byName[name].depends {
			out = append(out, order(strings.ReplaceAll(d, "-", "_"))...)
		}
		if _, ok := byName[name]; ok {
			out = append(out, name)
		}
		return out
	}
	lines := map[string]bool{}
	for _, m := range modules {
		for _, word := range append([]string{m.name}, m.aliases...) {
			lines[word+" "+strings.Join(order(m.name), " ")+"\n"] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(lines)), "")
}
