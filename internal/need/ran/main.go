// Command ran counts what tests did, from the output of `go test -json`.
//
//	go test -json ./... | ran tier root root.json
//	ran sum pure.json root.json vm.json
//
// tier copies its input to the file, shows each package as it ends and the output
// of what failed, and ends with 1 if anything did. sum puts the files of all tiers
// together: a test counts as passed when it passed in some tier and failed in none.
// It names every test that was skipped wherever it was met, with what it needed,
// prints "N passed, N failed, N skipped", and ends with 1 if a test failed or if one
// ran in no tier.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ok, err := run(os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ran:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run does one command line, and tells whether all is well with the tests.
func run(args []string, in io.Reader, out io.Writer) (bool, error) {
	switch {
	case len(args) == 3 && args[0] == "tier":
		return tier(args[1], args[2], in, out)
	case len(args) > 1 && args[0] == "sum":
		return sum(args[1:], out)
	}
	return false, fmt.Errorf("usage: ran tier NAME FILE <json, or ran sum FILE [FILE...]")
}

// tier shows the tests of one tier while they run.
func tier(name, file string, in io.Reader, out io.Writer) (bool, error) {
	keep, err := os.Create(file)
	if err != nil {
		return false, err
	}
	defer keep.Close()
	begin := time.Now()
	r := newResults()
	err = r.read(io.TeeReader(in, keep), func(p string) {
		if r.count(p) != (count{}) {
			fmt.Fprintln(out, r.packageLine(p))
		}
		for _, text := range r.failures(p) {
			fmt.Fprintln(out, text)
		}
	})
	if err != nil {
		return false, err
	}
	if err := keep.Close(); err != nil {
		return false, err
	}
	c := r.count("")
	fmt.Fprintf(out, "tier %s: %v in %.0f s\n", name, c, time.Since(begin).Seconds())
	return c.failed == 0, nil
}

// sum puts the tiers together.
func sum(files []string, out io.Writer) (bool, error) {
	all := newResults()
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return false, err
		}
		r := newResults()
		err = r.read(f, func(string) {})
		f.Close()
		if err != nil {
			return false, fmt.Errorf("%s: %w", file, err)
		}
		if c := r.count(""); c.failed > 0 {
			fmt.Fprintf(out, "%s: %d failed\n", strings.TrimSuffix(filepath.Base(file), ".json"), c.failed)
		}
		all.merge(r)
	}
	for _, line := range all.silent() {
		fmt.Fprintln(out, "ran in no tier:", line)
	}
	c := all.count("")
	fmt.Fprintln(out, c)
	return c.failed == 0 && c.skipped == 0, nil
}
