package guest

import (
	"encoding"
	"errors"
	"testing"
	"time"
)

func TestValidateLimits(t *testing.T) {
	l := func(l Limits) Spec { return Spec{Limits: l} }
	check(t, map[string]specCase{
		"all": {l(Limits{CPUs: 0.5, CPUBurst: Duration(20 * time.Millisecond), CPUShares: 200, CPUReserved: 25, CPUSet: "0-1", Mems: "0", Nice: -5,
			Memory: 1 << 30, MemorySoft: 1 << 29, MemoryReserved: 1 << 20, MemoryLow: 1 << 21, Zswap: 1 << 20, HugePages: map[string]Bytes{"2M": 64 << 20},
			IO: IO{Weight: 50, Latency: Duration(time.Millisecond), Devices: map[string]IODevice{"/dev/vda": {RBPS: 1 << 20}}}}), nil},
		"burst alone":      {l(Limits{CPUBurst: 1000}), []string{"limits.cpu_burst"}},
		"burst high":       {l(Limits{CPUs: 0.5, CPUBurst: Duration(51 * time.Millisecond)}), []string{"limits.cpu_burst"}},
		"shares":           {l(Limits{CPUShares: 10001}), []string{"limits.cpu_shares"}},
		"idle and more":    {l(Limits{CPUIdle: true, CPUShares: 5}), []string{"limits.cpu_idle"}},
		"idle reserved":    {l(Limits{CPUIdle: true, CPUReserved: 5}), []string{"limits.cpu_idle"}},
		"sets":             {l(Limits{CPUSet: "3-1", Mems: "x"}), []string{"limits.cpuset", "limits.mems"}},
		"nice":             {l(Limits{Nice: 20}), []string{"limits.nice"}},
		"bucket":           {l(Limits{TokenBucket: TokenBucket{FillRate: 1, Interval: 4, TokensMin: 15, TokensMax: 500, PerCPU: true}}), nil},
		"bucket rate":      {l(Limits{TokenBucket: TokenBucket{Interval: 4}}), []string{"limits.token_bucket.fill_rate"}},
		"bucket interval":  {l(Limits{TokenBucket: TokenBucket{FillRate: 4}}), []string{"limits.token_bucket.interval"}},
		"bucket and cpus":  {l(Limits{CPUs: 1, TokenBucket: TokenBucket{FillRate: 1, Interval: 4}}), []string{"limits.token_bucket"}},
		"bucket reserved":  {l(Limits{CPUReserved: 1, TokenBucket: TokenBucket{FillRate: 1, Interval: 4, IdleTime: true}}), []string{"limits.token_bucket.idle_time"}},
		"bucket max":       {l(Limits{TokenBucket: TokenBucket{FillRate: 1, Interval: 4, TokensMin: 5, TokensMax: 4}}), []string{"limits.token_bucket.tokens_max"}},
		"soft above":       {l(Limits{Memory: 1 << 20, MemorySoft: 1 << 21}), []string{"limits.memory_soft"}},
		"huge":             {l(Limits{HugePages: map[string]Bytes{"3M": 64 << 20, "2M": -1}}), []string{"limits.hugepages.2M", "limits.hugepages.3M"}},
		"io":               {l(Limits{IO: IO{Weight: -1, Latency: 1}}), []string{"limits.io.weight", "limits.io.latency"}},
		"io device path":   {l(Limits{IO: IO{Devices: map[string]IODevice{"vda": {RIOPS: 1}, "/srv": {RIOPS: 1}}}}), []string{"limits.io.devices./srv", "limits.io.devices.vda"}},
		"io device empty":  {l(Limits{IO: IO{Devices: map[string]IODevice{"/dev/vda": {}}}}), []string{"limits.io.devices./dev/vda"}},
		"io device bounds": {l(Limits{IO: IO{Devices: map[string]IODevice{"/dev/vda": {RBPS: 5, WIOPS: -1}}}}), []string{"limits.io.devices./dev/vda.rbps", "limits.io.devices./dev/vda.wiops"}},
	})
}

// reread holds that a text is read as what its own form reads as again.
func reread[T comparable, P interface {
	*T
	encoding.TextUnmarshaler
}](t *testing.T, text string, want T, marshal func(T) ([]byte, error)) {
	t.Helper()
	var v, again T
	if err := P(&v).UnmarshalText([]byte(text)); err != nil || v != want {
		t.Errorf("%q: %v, %v; want %v", text, v, err, want)
		return
	}
	if out, err := marshal(v); err != nil || P(&again).UnmarshalText(out) != nil || again != v {
		t.Errorf("%q: written as %q, %v, read as %v", text, out, err, again)
	}
}

func TestLimitTexts(t *testing.T) {
	reread(t, "25%", Percent(25), Percent.MarshalText)
	reread(t, " 12.5 % ", Percent(12.5), Percent.MarshalText)
	reread(t, "0-3, 8", Numbers("0-3,8"), Numbers.MarshalText)
	reread(t, "idle", IOPrio(3<<13), IOPrio.MarshalText)
	reread(t, "best-effort", IOPrio(2<<13|4), IOPrio.MarshalText)
	reread(t, "realtime:0", IOPrio(1<<13), IOPrio.MarshalText)
	for text, to := range map[string]encoding.TextUnmarshaler{
		"101%": new(Percent), "NaN": new(Percent), "-1": new(Percent), "": new(Percent),
		"0-": new(Numbers), "5-3": new(Numbers), "0-99999": new(Numbers), "1,,2": new(Numbers),
		"best-effort:8": new(IOPrio), "idle:1": new(IOPrio), "none": new(IOPrio),
	} {
		if err := to.UnmarshalText([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for size, want := range map[string]string{"2M": "2MB", "1G": "1GB", "64K": "64KB", "2048K": "2MB", "3M": "", "512": ""} {
		if got, err := HugePage(size); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", size, got, err)
		}
	}
}

func FuzzNumbers(f *testing.F) {
	f.Add("0-3,8")
	f.Fuzz(func(t *testing.T, text string) {
		var n Numbers
		if n.UnmarshalText([]byte(text)) == nil {
			if list, err := n.List(); err != nil || len(list) == 0 || len(list) > 8193 {
				t.Errorf("%q: %d numbers, %v", text, len(list), err)
			}
		}
	})
}

func TestRlimitText(t *testing.T) {
	for text, want := range map[string]Rlimit{
		"1024":                 {1024, 1024},
		"1024:4096":            {1024, 4096},
		"0:unlimited":          {0, Unlimited},
		"inf":                  {Unlimited, Unlimited},
		"64K:1.5M":             {64 << 10, 3 << 19},
		"8MiB:1G":              {8 << 20, 1 << 30},
		"18446744073709551614": {Unlimited - 1, Unlimited - 1},
	} {
		var r Rlimit
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%s: %v, %v", text, r, err)
		}
		again, _ := r.MarshalText()
		if err := r.UnmarshalText(again); err != nil || r != want {
			t.Errorf("%s written %s: %v, %v", text, again, r, err)
		}
	}
	for _, text := range []string{"", ":", "1:", "some", "64X", "-1", "2M:1M", "1:2:3", "18446744073709551616E"} {
		var r Rlimit
		if err := r.UnmarshalText([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
}
