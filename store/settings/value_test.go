package settings

import (
	"reflect"
	"slices"
	"testing"

	"vserver/guest"
)

func TestValue(t *testing.T) {
	spec := &guest.Spec{XID: 8, Limits: guest.Limits{Memory: 512 << 20}, Boot: guest.Boot{Marks: []string{"a", "1"}}}
	for key, want := range map[string]any{
		"xid": 8, "limits.memory": "512M", "boot.marks": []any{"a", "1"},
		"boot": map[string]any{"marks": []any{"a", "1"}, "depends": []any{}},
	} {
		if got, err := Value(spec, key); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, %v", key, got, err)
		}
	}
	if _, err := Value(spec, "no.such"); err == nil {
		t.Error("no.such has a value")
	}
}

// TestDifferences finds each key that was set to each sample, and no other.
func TestDifferences(t *testing.T) {
	for path, values := range samples() {
		for _, value := range values {
			out, err := Set([]byte(web1), path, value)
			if err != nil {
				continue // TestSetEach says so
			}
			was, is := decoded([]byte(web1)), decoded(out)
			var want []string
			for _, k := range Keys() {
				before, _ := Get(was, k.Path)
				after, _ := Get(is, k.Path)
				if !k.Section && before != after {
					want = append(want, k.Path)
				}
			}
			if got, err := Differences(was, is); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s=%s: %q differ, want %q (%v)", path, value, got, want, err)
			}
		}
	}
}
