package build

import (
	"context"
	"slices"

	"vserver/kernel/file"
)

// rootDirs are the directories that every root has (Filesystem Hierarchy Standard),
// with the modes that Debian's base-files gives them.
var rootDirs = []string{
	"boot 755", "dev 755", "etc 755", "home 755", "media 755", "mnt 755", "opt 755",
	"proc 555", "root 700", "run 755", "srv 755", "sys 555", "tmp 1777", "var 755",
	"var/backups 755", "var/cache 755", "var/lib 755", "var/local 2775 0 50", "var/log 755",
	"var/mail 2775 0 8", "var/opt 755", "var/spool 755", "var/tmp 1777",
}

// Skeleton makes a root of bare directories, for somebody who puts the files there by
// other means.
func Skeleton() Source {
	return bare("skeleton", append(slices.Clone(rootDirs), "bin 755", "sbin 755", "lib 755", "usr 755", "usr/bin 755", "usr/sbin 755", "usr/lib 755"))
}

// Bare makes a root of what a guest cannot do without: packages bring the rest, and it is
// theirs to say what is a directory and what a link.
func Bare() Source {
	return bare("bare", []string{"dev 755", "etc 755", "home 755", "mnt 755", "opt 755", "proc 555", "root 700", "run 755", "srv 755", "sys 555", "tmp 1777", "var 755"})
}

func bare(name string, dirs []string) Source {
	return Source{
		Method: name, Text: "bare directories", Cache: true,
		Name: func(context.Context) (string, error) { return imageName([]string{name}, dirs...), nil },
		Fill: func(_ context.Context, dir string, _ Progress) error {
			d, err := file.OpenDir(dir)
			if err != nil {
				return err
			}
			defer d.Close()
			return mkdirs(d, dirs)
		},
	}
}
