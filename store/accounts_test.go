package store

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestAccounts(t *testing.T) {
	etc := t.TempDir()
	if got, err := Accounts(etc); got != nil || err != nil {
		t.Errorf("no files: %v, %v", got, err)
	}
	write(t, filepath.Join(etc, "passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:\n+::::::\n#old:x:70000:1::/:\nad:x:70000:1::/:\nbad:x:x:1::/:\nshort:x:80000\n")
	write(t, filepath.Join(etc, "group"), "root:x:0:\nusers:x:4294967295:a,b\nhuge:x:4294967296:\n")
	write(t, filepath.Join(etc, "subuid"), "root:100000:65536\nnone:200000:0\nall:0:4294967295\nlow:1:65535\nend:4294967290:4294967296\nx:-1:5\na:b\n")
	got, err := Accounts(etc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i].Owner = strings.Replace(got[i].Owner, etc, "", 1)
	}
	want := []Range{
		{70000, 70000, "ad (/passwd:5)"}, {4294967295, 4294967295, "users (/group:2)"},
		{100000, 165535, "root (/subuid:1)"}, {0, 4294967294, "all (/subuid:3)"}, {4294967290, 4294967295, "end (/subuid:5)"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add("root:100000:65536\nad:x:70000:1::/:\n")
	f.Add("a:4294967295:8589934591\n")
	f.Fuzz(func(t *testing.T, text string) {
		ids, err1 := parseIDs(strings.NewReader(text), "f")
		ranges, err2 := parseRanges(strings.NewReader(text), "f")
		if err1 != nil || err2 != nil {
			return // a line without end
		}
		for _, r := range append(ids, ranges...) {
			if r.From > r.To || r.To < firstOurs {
				t.Errorf("%+v", r)
			}
		}
	})
}
