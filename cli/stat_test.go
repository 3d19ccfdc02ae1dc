package cli

import (
	"testing"
	"time"

	"vserver/guest"
	"vserver/host"
)

// The lines are as vserver-stat of util-vserver printed them on hosts of its time.
func TestStatText(t *testing.T) {
	day := 24 * time.Hour
	got := statText([]host.Usage{
		{Processes: 71, VSZ: 1127 << 20, RSS: 101<<20 + 120<<10, User: host.Seconds(2*time.Hour + 33*time.Minute + 3*time.Second),
			System: host.Seconds(7*time.Minute + 39*time.Second + 140*time.Millisecond), Uptime: host.Seconds(4*day + time.Hour + 3*time.Minute)},
		{XID: 49159, Name: "deb-vserv1", Processes: 2, VSZ: 14<<20 + 820<<10, RSS: 286,
			Uptime: host.Seconds(29*time.Minute + 9*time.Second + 200*time.Millisecond)},
		{XID: 40001, Name: "a-name-of-more-than-twenty", Processes: 12345, VSZ: 3 << 20, RSS: 0,
			Uptime: host.Seconds(1200 * day)},
	})
	want := "CTX   PROC    VSZ    RSS  userTIME   sysTIME    UPTIME NAME\n" +
		"0       71   1.1G 101.1M   2h33m03   7m39s14   4d01h03 root server\n" +
		"49159    2  14.8M   286    0m00s00   0m00s00  29m09s20 deb-vserv1\n" +
		"4000112345     3M     0    0m00s00   0m00s00  3y105d00 a-name-of-more-than-\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestStatMem(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 ", 999: "999 ", 1000: "0.9K", 1024: "1K", 1536: "1.5K", 999 << 10: "999K", 1000 << 10: "0.9M",
		1 << 40: "1T", 999 << 40: "999T", 1 << 60: "1024+",
	} {
		if got := statMem(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestAddContext(t *testing.T) {
	of := func(pid int) owner {
		switch pid {
		case 2231:
			return owner{xid: 40001, name: "web1"}
		case 3000000:
			return owner{xid: 8, name: "a-guest-with-a-long-name"}
		}
		return owner{}
	}
	got, ok := addContext(""+
		"USER         PID %CPU COMMAND\n"+
		"root           1  0.0 init\n"+
		"524288      2231  0.1 nginx\n"+
		"524288   3000000  0.1 sleep\n", of)
	want := "" +
		"USER         PID CONTEXT             %CPU COMMAND\n" +
		"root           1     0 MAIN           0.0 init\n" +
		"524288      2231 40001 web1           0.1 nginx\n" +
		"524288   3000000     8 a-guest-with-a-long-name  0.1 sleep\n"
	if got != want || !ok {
		t.Errorf("got %v\n%swant\n%s", ok, got, want)
	}
	if got, ok := addContext("TTY TIME\n", of); ok || got != "TTY TIME\n" {
		t.Errorf("without a column PID: got %v %q", ok, got)
	}
}

func TestUptime(t *testing.T) {
	for d, want := range map[time.Duration]string{
		59 * time.Second:                       "00:00",
		4*time.Hour + 12*time.Minute:           "04:12",
		76*time.Hour + 12*time.Minute:          "3 days, 04:12",
		24*time.Hour - time.Second:             "23:59",
		24 * time.Hour:                         "1 days, 00:00",
		400*24*time.Hour + 61*time.Minute + 59: "400 days, 01:01",
	} {
		if got := uptime(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestExitOf(t *testing.T) {
	for _, tt := range []struct {
		exit *guest.Exit
		want int
	}{
		{nil, 0},
		{&guest.Exit{Reason: guest.Exited}, 0},
		{&guest.Exit{Reason: guest.Exited, Code: 42}, 42},
		{&guest.Exit{Reason: guest.Signalled, Signal: "SIGKILL"}, 137},
		{&guest.Exit{Reason: guest.Signalled, Signal: "no such"}, 1},
		{&guest.Exit{Reason: guest.Halted}, 0},
		{&guest.Exit{Reason: guest.StoppedBy}, 0},
	} {
		if got := exitCode(exitOf(tt.exit)); got != tt.want {
			t.Errorf("%+v: got %d, want %d", tt.exit, got, tt.want)
		}
	}
}

func TestNetText(t *testing.T) {
	all := []host.Usage{{Name: ""}, {XID: 8, Name: "web1", Net: &guest.NetStatus{
		Sockets: 12, Connections: 3, Made: 44, BytesIn: 1 << 30, BytesOut: 5000, PacketsIn: 70000, PacketsOut: 9}}}
	want := "CTX   SOCK   CONN   MADE     IN    OUT  PKT-IN PKT-OUT    DROP NAME\n" +
		"8       12      3    44      1G   4.8K   68.3K      9       0  web1\n"
	if got := netText(all); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestTopRows(t *testing.T) {
	last := []host.Usage{{XID: 8, User: host.Seconds(time.Second)}, {XID: 9, User: host.Seconds(time.Minute), Uptime: host.Seconds(time.Hour)}, {XID: 0, User: host.Seconds(time.Hour)}}
	now := []host.Usage{{XID: 8, User: host.Seconds(2 * time.Second), System: host.Seconds(time.Second)}, // works
		{XID: 9, User: host.Seconds(time.Second), Uptime: host.Seconds(time.Minute)}, // was started again
		{XID: 10, RSS: 5},                         // is new
		{XID: 0, User: host.Seconds(time.Minute)}} // a process that had used much has ended
	rows := topRows(last, now, 2*time.Second)
	if rows[0].CPU != 100 || rows[1].CPU != 50 || rows[2].CPU != 0 || rows[3].CPU != 0 {
		t.Errorf("got %+v", rows)
	}
	now[0].Net, last[0].Net = &guest.NetStatus{BytesIn: 3000, BytesOut: 500}, &guest.NetStatus{BytesIn: 1000, BytesOut: 900}
	if r := topRows(last, now, 2*time.Second)[0]; r.In != 1000 || r.Out != 0 {
		t.Errorf("traffic of %+v", r)
	}
	rows = rows[:3]
	sortTop(rows, 'm', false)
	if rows[0].XID != 10 {
		t.Errorf("by memory: got %+v", rows)
	}
	sortTop(rows, 'c', true)
	if rows[0].XID != 10 || rows[2].XID != 8 {
		t.Errorf("by processor, turned: got %+v", rows)
	}
}
