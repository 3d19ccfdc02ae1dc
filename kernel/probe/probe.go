// Package probe asks the kernel what it can do for guests.
//
// Each feature is tried, in small and where nobody sees it, instead of being inferred
// from the version: distributions carry features back, and configurations, security
// modules and the sandbox of a container take them away. What is tried lives in
// namespaces, detached mounts and a control group that vanish with the probe. The
// version or configuration option that would bring a feature is told all the same.
//
// All of it takes some 30 ms and is for `vserver check`; a start of a guest tries the
// real thing and asks nobody before.
package probe

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// State is what is known of a feature.
type State string

// The states of a feature.
const (
	Yes     State = "yes"
	No      State = "no"
	Unknown State = "unknown" // it takes root to find out
)

// Result is what was found of one feature.
type Result struct {
	Name     string `json:"name"`
	Gives    string `json:"gives"` // what guests have of it
	State    State  `json:"state"`
	Found    string `json:"found,omitempty"` // what the kernel said, in words
	Brings   string `json:"brings"`          // the version, option or setting that brings it
	Lost     string `json:"lost"`            // what does not work without
	Required bool   `json:"required"`        // no guest can be run safely without
	// Untried says that it could not be looked for, since nothing can be written where guests'
	// files are to lie.
	Untried bool `json:"untried,omitempty"`
}

// Facts are the results for all features, in an order fit for reading. They are a
// plain value: a test may write its own.
type Facts []Result

// Has says whether the feature is there for certain.
func (f Facts) Has(name string) bool {
	return slices.ContainsFunc(f, func(r Result) bool { return r.Name == name && r.State == Yes })
}

// Missing gives the features that are required and certainly not there.
func (f Facts) Missing() []Result {
	var out []Result
	for _, r := range f {
		if r.Required && r.State == No {
			out = append(out, r)
		}
	}
	return out
}

// ForcedOff is what Found says of a feature that a test has taken away.
const ForcedOff = "taken away for a test"

// feature is how a Result is found. probe gives what the kernel said in words and
// whether the feature is there.
type feature struct {
	Result
	probe func(*ground) (found string, err error)
}

// Options say how to probe.
type Options struct {
	// Dir is a directory that exists where guests' files are to lie: what overlays can
	// do depends on the file system. Something is made in it and removed. "" is the
	// directory for temporary files.
	Dir string
	// Without names features that are to be reported missing, for tests of what is then
	// said and done.
	Without []string
}

// Host probes the kernel we run on.
func Host(o Options) Facts {
	g := &ground{dir: o.Dir}
	defer g.close()
	var facts Facts
	for _, f := range slices.Concat(contexts(), groups(), roots(), disks(), rights(), networks(), elders()) {
		r := f.Result
		if slices.Contains(o.Without, r.Name) {
			r.State, r.Found = No, ForcedOff
		} else {
			var err error
			r.Found, err = f.probe(g)
			r.State = stateOf(err)
			if err != nil {
				r.Found = text(err)
			}
			if full := (noPlace{}); errors.As(err, &full) && r.State == No {
				r.Untried, r.Brings = true, "a place for guests' files that can be written to"
			}
		}
		facts = append(facts, r)
	}
	return facts
}

// errRoot is the answer to a question that only root may ask.
var errRoot = errors.New("ask as root")

// noPlace is why nothing can be written where guests' files are to lie.
type noPlace struct {
	dir string
	err error
}

func (e noPlace) Error() string {
	why := e.err
	if at := (*fs.PathError)(nil); errors.As(why, &at) {
		why = at.Err
	}
	return fmt.Sprintf("write in %s: %v", cmp.Or(e.dir, os.TempDir()), why)
}

func (e noPlace) Unwrap() error { return e.err }

func stateOf(err error) State {
	switch {
	case err == nil:
		return Yes
	case errors.Is(err, errRoot) || errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return Unknown
	}
	return No
}

func text(err error) string {
	if stateOf(err) == Unknown {
		return errRoot.Error()
	}
	return err.Error()
}
