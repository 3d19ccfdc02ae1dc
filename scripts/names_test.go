package scripts_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	scripted "vserver/internal/script"
)

// TestNames: the file from which the links are made has the names that the program
// answers to, and its own by which it is no link.
func TestNames(t *testing.T) {
	text, err := os.ReadFile("names")
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(scripted.Names(), func(n string) bool { return n == "vserver" })
	slices.Sort(want)
	if got := strings.Fields(string(text)); !slices.Equal(got, want) {
		t.Errorf("scripts/names has %q, want %q", got, want)
	}
}
