package compat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/host"
	"vserver/limit"
)

// bucket is what vsched is asked for, by the key of limits.token_bucket.
type bucket struct {
	xid, dir      string
	missing, idle bool
	asked         map[string]int
	ignored, left string // options that do nothing, and those that cannot be had
}

func newVsched(c *call) run {
	b := bucket{asked: map[string]int{}}
	f := c.flags
	f.StringVar(&b.xid, "xid", "", "context `X`: its number, or the name of a guest")
	f.StringVar(&b.xid, "ctx", "", "")
	for option, key := range schedOptions() {
		f.Var(&noted{func(v string) error { return b.set(option, key, v) }}, option, "`N`")
	}
	f.Var(&noted{func(string) error {
		fmt.Fprintln(c.err, "vsched: WARNING: the '--cpu_mask' parameter is deprecated and will not have any effect")
		return nil
	}}, "cpu_mask", "")
	f.BoolVar(&b.idle, "idle-time", false, "idle processors may be used beyond the tokens")
	force := f.Bool("force", false, "at once, as always")
	f.StringVar(&b.dir, "dir", "", "read from files of `DIR`")
	f.BoolVar(&b.missing, "missingok", false, "no complaint when DIR is not there")
	return func(words []string) error {
		if b.dir != "" {
			if err := b.read(); err != nil {
				return err
			}
		}
		switch {
		case b.xid == "" && len(words) == 0:
			return usagef("without a program, --xid must be used")
		case len(b.asked) == 0 && !b.idle && b.dir == "" && !*force && b.ignored == "" && b.left == "" && len(words) == 0:
			return usagef("neither an option nor a program")
		case b.left != "":
			return lacking("--"+b.left+": one bucket holds for each processor", "limits.cpuset of a guest's spec")
		}
		if len(b.asked) > 0 || b.idle {
			if err := c.sched(&b); err != nil {
				return err
			}
		}
		return become(words)
	}
}

// schedOptions are the options of vsched, with the key of limits.token_bucket that each
// is: "" for what is accepted and does nothing, "-" for what cannot be had.
func schedOptions() map[string]string {
	return map[string]string{
		"fill-rate": "fill_rate", "fill_rate": "fill_rate", "interval": "interval",
		"tokens-min": "tokens_min", "tokens_min": "tokens_min", "tokens-max": "tokens_max", "tokens_max": "tokens_max",
		"tokens": "", "prio-bias": "", "prio_bias": "", "priority-bias": "", "priority_bias": "", "fill-rate2": "", "interval2": "",
		"cpu-id": "-", "bucket-id": "-",
	}
}

func (b *bucket) set(option, key, value string) error {
	n, err := strconv.ParseInt(strings.TrimSpace(value), 0, 32)
	if err != nil {
		return fmt.Errorf("%q: want a whole number", value)
	}
	switch key {
	case "":
		b.ignored = option
	case "-":
		b.left = option
	default:
		b.asked[key] = int(n)
	}
	return nil
}

// read takes the files of the directory that have the name of an option.
func (b *bucket) read() error {
	entries, err := os.ReadDir(b.dir)
	if b.missing && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(b.dir, e.Name())
		if e.Name() == "idle-time" {
			b.idle = true
			continue
		}
		key, known := schedOptions()[e.Name()]
		if !known || e.IsDir() {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := b.set(e.Name(), key, string(text)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// sched gives the processor time.
func (c *call) sched(b *bucket) error {
	s, err := c.subject(b.xid)
	if err != nil {
		return err
	}
	defer s.close()
	if s.guest != "" {
		spec, err := c.host.Load(s.guest)
		if err != nil {
			return err
		}
		if had := spec.Limits.TokenBucket; b.asked["fill_rate"] == 0 && had.FillRate == 0 || b.asked["interval"] == 0 && had.Interval == 0 {
			return usagef("%s has no bucket yet: want --fill-rate and --interval", s.guest)
		}
		changes := []string{"limits.cpus=", "limits.token_bucket.per_cpu=true", "limits.token_bucket.idle_time=" + strconv.FormatBool(b.idle)}
		for key, n := range b.asked {
			changes = append(changes, "limits.token_bucket."+key+"="+strconv.Itoa(n))
		}
		slices.Sort(changes)
		return host.Lend(c.host, s.guest, changes)
	}
	if s.alone == nil {
		return lacking("the host has no bucket", "--xid of a context")
	}
	t := guest.TokenBucket{FillRate: b.asked["fill_rate"], Interval: b.asked["interval"],
		TokensMin: b.asked["tokens_min"], TokensMax: b.asked["tokens_max"], PerCPU: true, IdleTime: b.idle}
	if t.FillRate < 1 || t.Interval < 1 {
		return usagef("want --fill-rate and --interval")
	}
	cg, path, err := c.group(s)
	if err != nil {
		return err
	}
	return limit.Further(cg, path, guest.Limits{TokenBucket: t})
}
