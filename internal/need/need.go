// Package need lets a test say what ground it stands on: root, a controller, an
// overlay, a throw-away machine.
//
// A test asks at its top:
//
//	func TestFreeze(t *testing.T) {
//		need.Root(t)
//		need.Controllers(t, "memory")
//
// When the ground lacks the thing, the test is skipped with the words "need X: why".
// A tier of `make test` names in VSERVER_MUST what its ground surely has; there the
// same lack fails the test instead. The program need/ran reads the `go test -json`
// of all tiers and fails when a test was skipped in every one of them. So a test
// cannot fall silent.
//
// [Main] is the TestMain of packages that touch the kernel: it fails the package
// when its tests leave anything behind. [Dirs], [Binary] and [Busybox] give a test
// a world of its own, the real program and a guest's root.
package need

import (
	"os"
	"strings"
	"testing"
)

// MustVar names the environment variable with the needs, separated by commas, whose
// lack is a failure: "root,overlay,controllers". A word stands for all needs below
// it: "controllers" for "controllers:memory".
const MustVar = "VSERVER_MUST"

// ask lets the test go on when missing is "", and otherwise ends it: as skipped, or
// as failed when the tier promised the need.
func ask(t testing.TB, need, missing string) {
	t.Helper()
	switch {
	case missing == "":
	case promised(os.Getenv(MustVar), need):
		t.Fatalf("need %s: %s, though %s=%s", need, missing, MustVar, os.Getenv(MustVar))
	default:
		t.Skipf("need %s: %s", need, missing)
	}
}

// promised tells whether the list has need or a word above it.
func promised(list, need string) bool {
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		if word != "" && (word == need || strings.HasPrefix(need, word+":")) {
			return true
		}
	}
	return false
}
