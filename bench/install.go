package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// install puts the programs where they are measured: as an installed program is, in
// files that were written in order. What the linker has just made lies in the page
// cache in single pages, and each start of it takes 0.4 ms more.
func (b *bench) install() error {
	dir := filepath.Join(b.work, "bin")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	built := filepath.Join(b.work, "hello")
	if err := run("env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags=-s -w", "-o", built, "./bench/hello"); err != nil {
		return err
	}
	from := filepath.Dir(b.tool)
	var errs []error
	for _, path := range []string{b.tool, filepath.Join(from, "vserver-image"), built} {
		errs = append(errs, put(path, filepath.Join(dir, filepath.Base(path))))
	}
	b.hello, b.tool = filepath.Join(dir, "hello"), filepath.Join(dir, filepath.Base(b.tool))
	return errors.Join(errs...)
}

// put copies a program, and refuses one that a dynamic linker has to start: it is not
// what make build makes, and half a millisecond slower.
func put(from, to string) error {
	program, err := elf.Open(from)
	if err != nil {
		return fmt.Errorf("%w (make build)", err)
	}
	defer program.Close()
	if slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return fmt.Errorf("%s: linked dynamically (make build)", from)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}
