package settings

import (
	"reflect"
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
