package guest

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// An id of the disk is one of the guest's, and each of both has one other at most.
func TestMountPairs(t *testing.T) {
	for line, want := range map[string][]IDPair{
		"/srv /x bind ro":                        nil,
		"/srv /x bind idmap":                     nil,
		"/srv /x bind idmap=1000:33":             {{1000, 33}},
		"data /x volume ro,idmap=0:0,idmap=70:7": {{0, 0}, {70, 7}},
		"/dev/vg/x /x ext4 idmap=4294967294:1":   {{4294967294, 1}},
	} {
		m, err := ParseMount(line)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Pairs(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", line, got, err, want)
		}
		if want != nil && m.Mapped() {
			t.Errorf("%s: all ids are the guest's", line)
		}
		if slices.ContainsFunc(m.Made(), func(o string) bool { return strings.HasPrefix(o, "idmap") }) {
			t.Errorf("%s: the file system would be made with %q", line, m.Made())
		}
		if found := (&Spec{Mounts: []Mount{m}}).Validate(); len(found) > 0 {
			t.Errorf("%s: %v", line, found)
		}
		none := Spec{Mounts: []Mount{m}, Userns: UsernsNone}
		if found := none.Validate(); want != nil && len(found) != 1 {
			t.Errorf("%s without a user namespace: %v", line, found)
		}
	}
	for _, options := range []string{
		"idmap=", "idmap=1", "idmap=1:", "idmap=:1", "idmap=a:1", "idmap=-1:1", "idmap=4294967295:1", "idmap=1:65536", "idmap=1:2:3",
		"idmap=1:2,idmap=1:3", "idmap=1:2,idmap=3:2", "idmap,idmap=1:2",
	} {
		m, err := ParseMount("/srv /x bind " + options)
		if err != nil {
			t.Fatal(err)
		}
		if found := (&Spec{Mounts: []Mount{m}}).Validate(); len(found) != 1 || found[0].Path != "mounts[0]" {
			t.Errorf("%s: %v", options, found)
		}
	}
	if m, _ := ParseMount("tmpfs /x tmpfs idmap=1:2"); len((&Spec{Mounts: []Mount{m}}).Validate()) != 1 {
		t.Error("a tmpfs with ids of the disk")
	}
}

func TestMountItems(t *testing.T) {
	for list, want := range map[string][]string{
		"data /srv, /a /b bind ro":                      {"data /srv", " /a /b bind ro"},
		"none /t tmpfs nosuid,size=1M":                  {"none /t tmpfs nosuid,size=1M"},
		"none /t tmpfs nosuid, size=1M 0 0,data /s":     {"none /t tmpfs nosuid,size=1M 0 0", "data /s"},
		"/a /b bind ro,idmap=1:2,idmap=3:4,c /d volume": {"/a /b bind ro,idmap=1:2,idmap=3:4", "c /d volume"},
		"data /srv,ro": {"data /srv", "ro"}, // which is no mount, and refused as one
	} {
		if got := (Mount{}).Items(list); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}
