package guest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Count is a number of things. It is written as a number, or with k, M or G for powers of
// 1000 ("500k").
type Count int64

var countUnits = []struct {
	letter string
	factor int64
}{{"G", 1e9}, {"M", 1e6}, {"k", 1e3}}

// UnmarshalText reads "500k".
func (c *Count) UnmarshalText(text []byte) error {
	s, factor := strings.TrimSpace(string(text)), int64(1)
	for _, u := range countUnits {
		if n, ok := strings.CutSuffix(s, u.letter); ok {
			s, factor = n, u.factor
			break
		}
		if n, ok := strings.CutSuffix(s, strings.ToUpper(u.letter)); ok {
			s, factor = n, u.factor
			break
		}
	}
	f, err := decimal(s)
	if err != nil || f < 0 || math.IsNaN(f) || f*float64(factor) >= math.MaxInt64 {
		return fmt.Errorf("number %q: want one with k, M or G: %w", text, ErrInvalid)
	}
	*c = Count(f * float64(factor))
	return nil
}

// String gives the number in the largest unit that divides it.
func (c Count) String() string {
	for _, u := range countUnits {
		if c != 0 && int64(c)%u.factor == 0 {
			return strconv.FormatInt(int64(c)/u.factor, 10) + u.letter
		}
	}
	return strconv.FormatInt(int64(c), 10)
}

// MarshalText writes the number as String does.
func (c Count) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// projectBase is added to the number of a guest for that of its project, so that projects
// that an administrator made (/etc/projects counts from 1) are not met, nor ids above 2^31
// used: 0x7653 is "vS".
const projectBase = 0x76530000

// Project is the number by which file systems count the guest's own files.
func (x XID) Project() uint32 { return projectBase + uint32(x) }

// OfProject gives the number of the guest that a project is for; false for other projects.
func OfProject(id uint32) (x XID, ok bool) {
	if id < projectBase+uint32(MinXID) || id > projectBase+uint32(MaxXID) {
		return 0, false
	}
	return XID(id - projectBase), true
}

// DiskStatus is what a guest's own files take of the disk, and may take.
type DiskStatus struct {
	By     string `json:"by"` // project, qgroup, image or device
	Used   Bytes  `json:"used"`
	Limit  Bytes  `json:"limit,omitempty"` // 0: none
	Inodes Count  `json:"inodes"`          // of projects and images alone
	Most   Count  `json:"inodes_limit,omitempty"`
}

// QuotaKind is whose files a quota inside a guest counts.
type QuotaKind string

// The kinds of quotas inside a guest.
const (
	QuotaUser  QuotaKind = "user"
	QuotaGroup QuotaKind = "group"
)

// Quota is what a user or group of a guest's has of the disk, and may have. Above a soft
// limit one may be for a time of grace.
type Quota struct {
	Kind       QuotaKind `json:"kind"`
	ID         uint32    `json:"id"` // in the guest
	Name       string    `json:"name,omitempty"`
	Used       Bytes     `json:"used"`
	Soft       Bytes     `json:"soft"` // 0: none
	Hard       Bytes     `json:"hard"`
	Inodes     Count     `json:"inodes"`
	SoftInodes Count     `json:"inodes_soft"`
	HardInodes Count     `json:"inodes_hard"`
	GraceEnds  int64     `json:"grace_ends,omitempty"` // of space, in seconds since 1970; 0: below the soft limit
	InodeGrace int64     `json:"inodes_grace_ends,omitempty"`
}
