package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

func newQuota(t *tool) *cobra.Command {
	var inodes, softInodes string
	c := command("quota NAME [user|group WHO [SPACE [SOFT]]] | quota NAME adopt", `
Shows what a guest and its users and groups have of the disk, and what they may have;
or sets what one of them may have, by name or number in the guest: SPACE is a size, SOFT
one that may be exceeded for a time of grace, none is no limit. It holds at once, and the
file system keeps it. The guest's own limits are limits.disk and limits.inodes of its
spec. A mark of '+' says who is above a soft limit.

With adopt, files of a stopped guest that came to this file system by other means than
vserver are counted as the guest's from now on.`, `
vserver web1 quota
vserver web1 quota user alice 2G 1800M
vserver web1 quota group devs --inodes 100k
vserver web1 quota user alice none
vserver web1 quota adopt`,
		func(ctx context.Context, args []string) error { return t.quota(ctx, args, inodes, softInodes) })
	c.Flags().StringVar(&inodes, "inodes", "", "`NUMBER` of files, directories and links, or none")
	c.Flags().StringVar(&softInodes, "soft-inodes", "", "`NUMBER` that may be exceeded for a time of grace, or none")
	return c
}

// quotas is what quota shows of a guest.
type quotas struct {
	Guest  *guest.DiskStatus `json:"guest"`
	Users  []guest.Quota     `json:"users"`
	Groups []guest.Quota     `json:"groups"`
}

func (t *tool) quota(ctx context.Context, args []string, inodes, softInodes string) error {
	n, rest, err := t.one(args)
	if err != nil {
		return err
	}
	if len(rest) == 1 && rest[0] == "adopt" {
		return t.about(n, host.Adopt(ctx, t.host, n))
	}
	if len(rest) > 0 && rest[0] != string(guest.QuotaUser) && rest[0] != string(guest.QuotaGroup) || len(rest) == 1 || len(rest) > 4 {
		return usageHint("vserver quota --help", "want user or group, whose, and a size")
	}
	if len(rest) > 2 || inodes != "" || softInodes != "" {
		if len(rest) == 0 {
			return usageHint("vserver quota --help", "of whom? want user or group, and whose")
		}
		change, err := quotaChange(rest[2:], inodes, softInodes)
		if err != nil {
			return usage{err.Error()}
		}
		return t.about(n, host.SetQuota(t.host, n, guest.QuotaKind(rest[0]), rest[1], change))
	}
	return t.about(n, t.showQuotas(n, rest))
}

// quotaChange gives the change that the words ask for.
func quotaChange(sizes []string, inodes, softInodes string) (func(*guest.Quota), error) {
	var q guest.Quota
	for i, to := range []*guest.Bytes{&q.Hard, &q.Soft} {
		if i < len(sizes) && sizes[i] != "none" {
			if err := to.UnmarshalText([]byte(sizes[i])); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range []struct {
		word string
		to   *guest.Count
	}{{inodes, &q.HardInodes}, {softInodes, &q.SoftInodes}} {
		if f.word != "" && f.word != "none" {
			if err := f.to.UnmarshalText([]byte(f.word)); err != nil {
				return nil, err
			}
		}
	}
	return func(old *guest.Quota) {
		if len(sizes) > 0 {
			old.Hard, old.Soft = q.Hard, q.Soft
		}
		if inodes != "" {
			old.HardInodes = q.HardInodes
		}
		if softInodes != "" {
			old.SoftInodes = q.SoftInodes
		}
	}, nil
}

// showQuotas lists them: all, or those of one user or group.
func (t *tool) showQuotas(n guest.Name, who []string) error {
	q, err := t.quotas(n)
	if errors.Is(err, guest.ErrUnsupported) && q.Guest != nil && len(who) == 0 && !t.json {
		_, werr := t.out.WriteString(quotaText(q, time.Now())) // what is known all the same
		return errors.Join(err, werr)
	}
	if err != nil {
		return err
	}
	if len(who) == 2 {
		q = q.only(guest.QuotaKind(who[0]), who[1])
	}
	if t.json {
		return writeJSON(t.out, q)
	}
	_, err = t.out.WriteString(quotaText(q, time.Now()))
	return err
}

func (t *tool) quotas(n guest.Name) (q quotas, err error) {
	st, err := t.look(n)
	if err != nil {
		return q, err
	}
	q.Guest = st.Disk
	if q.Users, err = host.Quotas(t.host, n, guest.QuotaUser); err == nil {
		q.Groups, err = host.Quotas(t.host, n, guest.QuotaGroup)
	}
	return q, err
}

// only leaves one user or group.
func (q quotas) only(k guest.QuotaKind, who string) quotas {
	pick := func(list []guest.Quota) []guest.Quota {
		out := []guest.Quota{}
		for _, x := range list {
			if x.Kind == k && (x.Name == who || strconv.Itoa(int(x.ID)) == who) {
				out = append(out, x)
			}
		}
		return out
	}
	return quotas{Users: pick(q.Users), Groups: pick(q.Groups)}
}

// quotaText is the table of repquota(8), sizes in K as there, with the guest's own line.
func quotaText(q quotas, now time.Time) string {
	rows := [][]string{{"", "", "SPACE", "SOFT", "HARD", "GRACE", "INODES", "SOFT", "HARD", "GRACE"}}
	if g := q.Guest; g != nil {
		rows = append(rows, []string{"guest", "--", kibi(g.Used), "0", kibi(g.Limit), "", count(g.Inodes), "0", count(g.Most), ""})
	}
	for _, x := range append(append([]guest.Quota(nil), q.Users...), q.Groups...) {
		name := x.Name
		if name == "" {
			name = "#" + strconv.Itoa(int(x.ID))
		}
		rows = append(rows, []string{string(x.Kind) + " " + name, mark(x.Soft > 0 && x.Used > x.Soft) + mark(x.SoftInodes > 0 && x.Inodes > x.SoftInodes),
			kibi(x.Used), kibi(x.Soft), kibi(x.Hard), grace(x.GraceEnds, now),
			count(x.Inodes), count(x.SoftInodes), count(x.HardInodes), grace(x.InodeGrace, now)})
	}
	return columns(rows)
}

func kibi(b guest.Bytes) string { return strconv.FormatInt((int64(b)+1023)/1024, 10) }

func count(c guest.Count) string { return strconv.FormatInt(int64(c), 10) }

func mark(above bool) string {
	if above {
		return "+"
	}
	return "-"
}

// grace tells how much of a time of grace is left.
func grace(ends int64, now time.Time) string {
	switch left := time.Unix(ends, 0).Sub(now); {
	case ends == 0:
		return ""
	case left <= 0:
		return "none"
	default:
		return span(left)
	}
}

// diskText says what a guest takes of the disk, for info.
func diskText(d *guest.DiskStatus) string {
	if d == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s K", kibi(d.Used))
	if d.Limit > 0 {
		fmt.Fprintf(&b, " of %v", d.Limit)
	}
	if d.Inodes > 0 {
		fmt.Fprintf(&b, ", %s inodes", count(d.Inodes))
	}
	if d.Most > 0 {
		fmt.Fprintf(&b, " of %v", d.Most)
	}
	return b.String()
}
