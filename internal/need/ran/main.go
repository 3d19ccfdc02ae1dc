// Command ran counts what tests did, from the output of `go test -json`.
//
//	go test -json ./... | ran tier root root.json
//	ran failed root.json
//	ran sum pure.json root.json root.again.json vm.json
//
// tier copies its input to the file, shows each package as it ends and the output
// of what failed, and ends with 1 if anything did. failed prints what a second try of a
// tier has to run, a line a package: its path, then a pattern for -run; it ends with 1
// when so much failed that no accident explains it. sum puts the files of all tiers
// together: a test counts as passed when it passed in some tier and failed in none,
// where the second try in TIER.again.json stands for the first. It names every test that
// passed only then, and every one that was skipped wherever it was met, with what it
// needed, prints "N passed, N failed, N skipped", and ends with 1 if a test failed or if
// one ran in no tier.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	case len(args) == 2 && args[0] == "failed":
		return again(args[1], out)
	case len(args) > 1 && args[0] == "sum":
		return sum(args[1:], out)
	}
	return false, fmt.Errorf("usage: ran tier NAME FILE <json, ran failed FILE, or ran sum FILE [FILE...]")
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

// accidents is how many tests of a tier may fail and be tried once more: the machine is
// shared, and an emulated one keeps no time. More than that is no accident.
const accidents = 5

// again prints what is to be tried once more.
func again(file string, out io.Writer) (bool, error) {
	r, err := readFile(file)
	if err != nil || r.count("").failed > accidents {
		return false, err
	}
	for _, line := range r.again() {
		fmt.Fprintln(out, line)
	}
	return true, nil
}

// sum puts the tiers together.
func sum(files []string, out io.Writer) (bool, error) {
	all := newResults()
	for _, file := range files {
		if second(file) {
			continue // read with its first
		}
		tier := strings.TrimSuffix(file, ".json")
		r, err := readFile(file)
		if err == nil && slices.Contains(files, tier+againSuffix) {
			err = r.amend(tier + againSuffix)
		}
		if err != nil {
			return false, err
		}
		if c := r.count(""); c.failed > 0 {
			fmt.Fprintf(out, "%s: %d failed\n", filepath.Base(tier), c.failed)
		}
		for _, k := range r.unsteady {
			fmt.Fprintf(out, "%s: passed at the second try only: %s %s\n", filepath.Base(tier), k.Package, k.Test)
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

// againSuffix is how the file of a tier's second try ends.
const againSuffix = ".again.json"

func second(file string) bool { return strings.HasSuffix(file, againSuffix) }

// readFile reads the file of one try.
func readFile(file string) (*results, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := newResults()
	if err := r.read(f, func(string) {}); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}
