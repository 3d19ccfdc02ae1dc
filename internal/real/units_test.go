package real_test

import (
	"fmt"
	"strings"
	"testing"
)

// unit is a service with settings that a distribution's units have, and a line of shell
// that succeeds in it when they do what they say.
type unit struct {
	settings string // separated by ;
	check    string
	since    int // version of systemd, from which on it is so
	until    int // version of systemd, up to which it is so
}

// sandboxed are settings that work in a guest.
func sandboxed() []unit {
	return []unit{
		{settings: "PrivateTmp=yes", check: "test ! -e /tmp/outside && touch /tmp/inside"},
		{settings: "PrivateTmp=disconnected", check: "test ! -e /tmp/outside", since: 257},
		{settings: "ProtectSystem=strict;ReadWritePaths=/var/tmp", check: "! touch /etc/no && ! touch /srv/no && touch /var/tmp/yes"},
		{settings: "ProtectSystem=full", check: "! touch /etc/no && ! touch /usr/no && touch /srv/yes"},
		{settings: "ProtectHome=yes", check: `test -z "$(ls -A /root)" && test ! -e /home/outside`},
		{settings: "ProtectHome=tmpfs", check: "test ! -e /home/outside"},
		{settings: "DynamicUser=yes;StateDirectory=real;CacheDirectory=real;LogsDirectory=real;RuntimeDirectory=real",
			check: `test $(id -u) -ge 61184 && touch $STATE_DIRECTORY/a $CACHE_DIRECTORY/a $RUNTIME_DIRECTORY/a && ! touch /etc/no`},
		{settings: "LoadCredential=key:/etc/real.secret", check: `test "$(cat $CREDENTIALS_DIRECTORY/key)" = secret`},
		{settings: "LoadCredential=key:/etc/real.secret;DynamicUser=yes;PrivateMounts=yes", check: `test "$(cat $CREDENTIALS_DIRECTORY/key)" = secret`},
		{settings: "SetCredential=key:value", check: `test "$(cat $CREDENTIALS_DIRECTORY/key)" = value`},
		{settings: "PrivateDevices=yes", check: "echo > /dev/null && test ! -e /dev/console"},
		{settings: "PrivateNetwork=yes", check: "true"},
		{settings: "PrivateNetwork=yes", check: "! ip link show eth0", until: 256},
		{settings: "PrivateIPC=yes", check: "true"},
		{settings: "PrivateMounts=yes", check: "mount -t tmpfs tmpfs /mnt"},
		{settings: "PrivatePIDs=yes;Type=exec", check: "test $(ps -e --no-headers | wc -l) -lt 5", since: 257},
		{settings: "ProtectKernelTunables=yes", check: "! echo 1 > /proc/sys/net/ipv4/ip_forward"},
		{settings: "ProtectKernelModules=yes", check: "true"},
		{settings: "ProtectKernelLogs=yes", check: "true"},
		{settings: "ProtectControlGroups=yes", check: "! mkdir /sys/fs/cgroup/no"},
		{settings: "ProtectControlGroups=strict", check: "! mkdir /sys/fs/cgroup/no", since: 257},
		{settings: "ProtectClock=yes", check: "true"},
		{settings: "ProtectHostname=yes", check: "! hostname no"},
		{settings: "ProtectProc=invisible;User=daemon", check: "test ! -e /proc/1/status"},
		{settings: "ProcSubset=pid", check: "test ! -e /proc/meminfo"},
		{settings: "NoNewPrivileges=yes", check: "grep -q '^NoNewPrivs:.*1' /proc/self/status"},
		{settings: "RestrictNamespaces=yes", check: "! unshare --mount true"},
		{settings: "RestrictAddressFamilies=AF_UNIX", check: "! ping -c 1 127.0.0.1"},
		{settings: "RestrictRealtime=yes;RestrictSUIDSGID=yes;LockPersonality=yes", check: "! chmod u+s $(mktemp)"},
		{settings: "MemoryDenyWriteExecute=yes", check: "true"},
		{settings: "SystemCallFilter=@system-service;SystemCallFilter=~@privileged;SystemCallErrorNumber=EPERM", check: "! mount -t tmpfs tmpfs /mnt"},
		{settings: "SystemCallArchitectures=native", check: "true"},
		{settings: "User=daemon;AmbientCapabilities=CAP_NET_BIND_SERVICE;CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
			check: "grep -q '^CapEff:.*0400$' /proc/self/status"},
		{settings: "ReadOnlyPaths=/srv;InaccessiblePaths=/root;BindReadOnlyPaths=/etc:/mnt;TemporaryFileSystem=/media", check: `! touch /srv/no && test -z "$(ls -A /root)" && test -e /mnt/passwd && touch /media/yes`},
		{settings: "RootDirectory=/srv/root;MountAPIVFS=yes;PrivateTmp=yes;BindReadOnlyPaths=/usr /bin /lib /lib64", check: "test ! -e /etc/passwd && test -e /proc/self/status && test -e /sys/class"},
		{settings: "KeyringMode=private;UMask=077;LimitNOFILE=4096;Nice=5;OOMScoreAdjust=500;CPUAffinity=0;Personality=x86-64",
			check: "test $(umask) = 0077 && test $(ulimit -n) = 4096 && test $(cat /proc/self/oom_score_adj) = 500"},
		{settings: "LogNamespace=real", check: "echo in a journal of its own"},
		{settings: "User=daemon;PAMName=login", check: `test $(id -un) = daemon`},
		{settings: "Delegate=yes", check: "mkdir /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/below"},
		{settings: "Type=notify;NotifyAccess=all;WatchdogSec=30", check: "systemd-notify --ready && sleep 1"},
		// What needs a controller or a right that the guest has not is accepted, and does
		// nothing.
		{settings: "MemoryMax=100M;CPUQuota=50%;TasksMax=100;IOWeight=10;DevicePolicy=closed;IPAddressDeny=any;Slice=real.slice", check: "true"},
		{settings: "Nice=-5;OOMScoreAdjust=-500;RestrictFileSystems=ext4;SocketBindDeny=any;LimitNOFILE=2000000;LimitMEMLOCK=infinity", check: "true"},
	}
}

// impossible are settings whose units do not start in a guest; doc/systemd.md says why.
func impossible() []unit {
	return []unit{
		{settings: "PrivateUsers=yes"},
		{settings: "CPUSchedulingPolicy=fifo"},
		{settings: "IOSchedulingClass=realtime"},
	}
}

// widened are settings that work in a guest with rights.nesting and net_admin.
func widened() []unit {
	return []unit{
		{settings: "PrivateUsers=yes", check: "test $(id -u) = 0"},
		{settings: "PrivateNetwork=yes", check: "! ip link show eth0 && ping -q -c 1 127.0.0.1"},
	}
}

// units starts a unit for each setting.
func (s *server) units(t *testing.T) { s.try(t, sandboxed(), impossible()) }

// rights starts those that need further rights, with them.
func (s *server) rights(t *testing.T) {
	s.do(t, "set", s.name, "rights.nesting=true", "rights.bcaps=net_admin")
	s.do(t, "start", s.name, "-r")
	s.try(t, widened(), nil)
	s.do(t, "stop", s.name)
}

// try starts units; the bad ones must not.
func (s *server) try(t *testing.T, good, bad []unit) {
	t.Helper()
	var version int
	fmt.Sscanf(s.sh(t, s.name, "systemctl --version"), "systemd %d", &version)
	script := "echo secret > /etc/real.secret; touch /tmp/outside /home/outside\n" +
		"for d in usr bin lib lib64 proc sys dev run tmp var/tmp; do mkdir -p /srv/root/$d; done\n"
	for i, u := range append(good, bad...) {
		check := strings.NewReplacer("%", "%%", "$", "$$", `"`, `\"`).Replace(u.check)
		if check == "" {
			check = "true"
		}
		script += fmt.Sprintf("cat > /run/systemd/system/real%d.service <<'END'\n[Service]\nType=oneshot\n%s\nExecStart=/bin/sh -c \"%s\"\nEND\n",
			i, strings.ReplaceAll(u.settings, ";", "\n"), check)
	}
	s.sh(t, s.name, script+"systemctl daemon-reload")
	for i, u := range append(good, bad...) {
		if u.since > version || u.until > 0 && u.until < version {
			continue
		}
		r := s.feed(fmt.Sprintf("systemctl start real%d.service || journalctl -q -o cat -n 5 -u real%d.service", i, i), "exec", s.name, "sh", "-s")
		failed := strings.Contains(r.out+r.err, "failed")
		switch {
		case i < len(good) && failed:
			t.Errorf("a unit with %s and %q does not start:\n%s%s", u.settings, u.check, r.out, r.err)
		case i >= len(good) && !failed:
			t.Errorf("a unit with %s starts, though doc/systemd.md says it cannot", u.settings)
		}
	}
	s.sh(t, s.name, "systemctl stop 'real*'; rm /run/systemd/system/real*; systemctl daemon-reload; systemctl reset-failed")
	if err := s.healthy(); err != nil {
		t.Error(err)
	}
}
