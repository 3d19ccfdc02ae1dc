package compat

import (
	"fmt"
	"path/filepath"
	"strings"
)

// sysinfo prints versions and places, in the lines that scripts read.
func (c *call) sysinfo() error {
	release, err := c.uts(subject{}, "release")
	if err != nil {
		return err
	}
	d := c.host.Dirs
	config := filepath.Dir(d.Config)
	for _, part := range []struct {
		title string
		lines [][2]string
	}{
		{"Versions", [][2]string{{"Kernel", release}, {"VS-API", apiVersion}, {"VCI", "???"}, {"util-vserver", oldVersion + "; vserver on a stock kernel"}}},
		{"Features", [][2]string{{"", strings.Join(features(), ", ")}, {"Available APIs", "v13,net,v21,v22,v23,netv2"}}},
		{"Paths", [][2]string{{"prefix", "/usr"}, {"sysconf-Directory", config}, {"cfg-Directory", d.Config},
			{"initrd-Directory", filepath.Join(config, "init.d")}, {"pkgstate-Directory", d.Run}, {"vserver-Rootdir", d.Data}}},
	} {
		if part.title != "Versions" {
			fmt.Fprintln(c.out)
		}
		fmt.Fprintf(c.out, "%s:\n", part.title)
		for _, l := range part.lines {
			if l[0] == "" {
				_, err = fmt.Fprintf(c.out, "%27s%s\n", "", l[1])
				continue
			}
			_, err = fmt.Fprintf(c.out, "%25s: %s\n", l[0], l[1])
		}
	}
	return err
}
