package cli

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vserver/guest"
)

func newInfo(t *tool) *cobra.Command {
	return command("info [NAME]", `
All that is known of a guest at this moment; without a name, of this host. The
names of the JSON form are an interface and stay.`, `
vserver info web1
vserver info web1 --json
vserver info`,
		func(_ context.Context, args []string) error { return t.info(args) })
}

// info says what is known of a guest or of the host.
func (t *tool) info(args []string) error {
	if len(args) == 0 && t.subject == "" {
		return t.hostInfo()
	}
	n, err := t.single(args)
	if err != nil {
		return err
	}
	s, err := t.look(n)
	if err != nil {
		return t.about(n, err)
	}
	if t.json {
		return writeJSON(t.out, plain(s))
	}
	_, err = t.out.WriteString(t.infoText(s))
	return err
}

// infoText is one line for each thing known.
func (t *tool) infoText(s guest.Status) string {
	rows := [][]string{
		{"name:", string(s.Name)},
		{"xid:", strconv.Itoa(int(s.XID))},
		{"state:", string(s.State)},
		{"spec:", t.host.Dirs.Spec(s.Name)},
		{"files:", t.host.Dirs.Guest(s.Name)},
	}
	add := func(key, value string) {
		if value != "" && value != "0" {
			rows = append(rows, []string{key, value})
		}
	}
	add("problem:", s.Problem)
	add("hostname:", s.Hostname)
	add("network:", string(s.Mode))
	for _, a := range s.Addresses {
		add("address:", a.String())
	}
	add("disk:", diskText(s.Disk))
	add("mounted:", mountedText(s.Mounted))
	if isUp(s) {
		add("init pid:", strconv.Itoa(s.InitPID))
		add("cgroup:", s.Cgroup)
		add("processes:", strconv.Itoa(s.Processes))
		if s.Net != nil {
			add("received:", fmt.Sprintf("%d bytes in %d packets", s.Net.BytesIn, s.Net.PacketsIn))
			add("sent:", fmt.Sprintf("%d bytes in %d packets", s.Net.BytesOut, s.Net.PacketsOut))
			add("dropped:", strconv.FormatUint(s.Net.Dropped, 10))
			add("sockets:", strconv.FormatUint(s.Net.Sockets, 10))
			add("connections:", fmt.Sprintf("%d made, %d there", s.Net.Made, s.Net.Connections))
		}
		add("started:", s.Started.Local().Format(time.DateTime))
		add("uptime:", span(seconds(s.UptimeS)))
	}
	if s.LastExit != nil {
		add("last end:", ending(*s.LastExit, time.Now()))
	}
	return columns(rows)
}

// hostInfo is what info says of the host.
type hostInfo struct {
	Version string `json:"version"`
	Kernel  string `json:"kernel"`
	Config  string `json:"config"` // directories
	Data    string `json:"data"`
	Run     string `json:"run"`
	Guests  int    `json:"guests"`
	Running int    `json:"running"`
}

// hostInfo prints what is known of the host.
func (t *tool) hostInfo() error {
	all, err := t.host.List(false)
	if err != nil {
		return err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	d := t.host.Dirs
	info := hostInfo{Version: version, Kernel: strings.TrimSpace(string(kernel)),
		Config: d.Config, Data: d.Data, Run: d.Run, Guests: len(all)}
	for _, s := range all {
		if isUp(s) {
			info.Running++
		}
	}
	if t.json {
		return writeJSON(t.out, info)
	}
	_, err = t.out.WriteString(columns([][]string{
		{"version:", info.Version}, {"kernel:", info.Kernel}, {"specs:", info.Config},
		{"files:", info.Data}, {"notes:", info.Run},
		{"guests:", fmt.Sprintf("%d, %d running", info.Guests, info.Running)},
	}))
	return err
}
