package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"vserver/guest"
)

func TestQuotaChange(t *testing.T) {
	have := guest.Quota{Hard: 1 << 20, Soft: 1 << 19, HardInodes: 5, SoftInodes: 4}
	for _, c := range []struct {
		sizes        []string
		inodes, soft string
		want         guest.Quota
	}{
		{[]string{"2G"}, "", "", guest.Quota{Hard: 2 << 30, HardInodes: 5, SoftInodes: 4}},
		{[]string{"2G", "1G"}, "", "", guest.Quota{Hard: 2 << 30, Soft: 1 << 30, HardInodes: 5, SoftInodes: 4}},
		{[]string{"none"}, "", "", guest.Quota{HardInodes: 5, SoftInodes: 4}},
		{nil, "10k", "", guest.Quota{Hard: 1 << 20, Soft: 1 << 19, HardInodes: 10000, SoftInodes: 4}},
		{nil, "none", "none", guest.Quota{Hard: 1 << 20, Soft: 1 << 19}},
	} {
		change, err := quotaChange(c.sizes, c.inodes, c.soft)
		if err != nil {
			t.Fatal(err)
		}
		q := have
		if change(&q); q != c.want {
			t.Errorf("%v %s %s: %+v", c.sizes, c.inodes, c.soft, q)
		}
	}
	for _, bad := range [][3]string{{"much", "", ""}, {"1G", "few", ""}, {"1G", "", "-1"}} {
		if _, err := quotaChange([]string{bad[0]}, bad[1], bad[2]); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestQuotaText(t *testing.T) {
	now := time.Unix(1000, 0)
	q := quotas{
		Guest: &guest.DiskStatus{By: "project", Used: 1025, Limit: 10 << 30, Inodes: 7, Most: 500000},
		Users: []guest.Quota{
			{Kind: guest.QuotaUser, ID: 0, Name: "root", Used: 4096, Inodes: 2},
			{Kind: guest.QuotaUser, ID: 1000, Used: 3 << 20, Soft: 2 << 20, Hard: 4 << 20, GraceEnds: 1000 + 3600, Inodes: 9, SoftInodes: 5, InodeGrace: 999},
		},
	}
	var got []string
	for line := range strings.Lines(quotaText(q, now)) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"SPACE SOFT HARD GRACE INODES SOFT HARD GRACE",
		"guest -- 2 0 10485760 7 0 500000",
		"user root -- 4 0 0 2 0 0",
		"user #1000 ++ 3072 2048 4096 1h00m 9 5 0 none",
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("line %d: %q, want %q", i, got[i:min(i+1, len(got))], want[i])
		}
	}
	if only := q.only(guest.QuotaUser, "1000"); len(only.Users) != 1 || only.Guest != nil {
		t.Errorf("only = %+v", only)
	}
}
