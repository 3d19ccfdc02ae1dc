package cli

import (
	"testing"
	"time"

	"vserver/guest"
	"vserver/host"
)

func TestWaitingFor(t *testing.T) {
	for want, all := range map[string]map[guest.Name]host.Waiting{
		"web1: waiting for sh, ?[2J, cron and 1 more, 12s of 1m30s (Ctrl-C leaves it ending)": {
			"web1": {Elapsed: 12 * time.Second, Limit: 90 * time.Second, Processes: []string{"sh", "\x1b[2J", "cron", "nginx"}, Count: 9}},
		"db1, mail, web1 and 1 more still run, 7s (Ctrl-C leaves them ending)": {
			"web1": {Elapsed: 7 * time.Second}, "db1": {Elapsed: time.Second}, "mail": {}, "web2": {}},
	} {
		if got := waitingFor(all); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
