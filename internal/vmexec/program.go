package main

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vserver/internal/vmexec/cpio"
)

// addProgram adds a program of this host, where it is, with the libraries it is
// linked to. A script comes without its interpreter.
func addProgram(a *cpio.Archive, path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	a.File(inRoot(path), real)
	return addLibraries(a, real)
}

// addLibraries adds the dynamic linker of a program and all libraries it names, and
// those that these name. A static program has none.
func addLibraries(a *cpio.Archive, path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return nil // a script
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		linker := make([]byte, p.Filesz)
		if _, err := p.ReadAt(linker, 0); err != nil {
			return fmt.Errorf("%s: read its linker's name: %w", path, err)
		}
		name := strings.TrimRight(string(linker), "\x00")
		a.File(inRoot(name), name)
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: read its libraries' names: %w", path, err)
	}
	for _, name := range names {
		at, err := findLibrary(name)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !a.Has(inRoot(at)) {
			a.File(inRoot(at), at)
			if err := addLibraries(a, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// findLibrary looks where Debian keeps the libraries of its own architecture.
func findLibrary(name string) (string, error) {
	for _, pattern := range []string{"/lib/*-linux-gnu/", "/usr/lib/*-linux-gnu/", "/lib64/", "/lib/", "/usr/lib/"} {
		found, _ := filepath.Glob(pattern + name)
		for _, path := range found {
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("library %s: not found", name)
}
