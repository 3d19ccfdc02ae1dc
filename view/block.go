package view

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// blockDir is the host's directory of disks: iostat reads there, not /proc/diskstats.
const blockDir = "/sys/block"

// Below block each disk that the guest used has a directory. Its files are numbered from
// firstDisk + number*perDisk on, where number is of the device.
const (
	firstDisk Node = 1 << 40
	perDisk   Node = 8
	minorBits      = 20
)

// diskFiles are the files of a disk: device tells programs that there is hardware behind
// it; of the others the guest has its own stat.
var diskFiles = [...]file{{0, "device", true}, {1, "dev", false}, {2, "size", false}, {3, "stat", false}}

const diskStat = 3

// Disk is the number of a block device.
type Disk struct{ Major, Minor uint32 }

// parseDisk reads a number as cgroups write it, "8:0".
func parseDisk(s string) (d Disk, ok bool) {
	a, b, _ := strings.Cut(s, ":")
	major, err1 := strconv.ParseUint(a, 10, 12)
	minor, err2 := strconv.ParseUint(b, 10, minorBits)
	return Disk{uint32(major), uint32(minor)}, err1 == nil && err2 == nil
}

func (d Disk) String() string {
	return strconv.FormatUint(uint64(d.Major), 10) + ":" + strconv.FormatUint(uint64(d.Minor), 10)
}

// node is the disk's directory.
func (d Disk) node() Node {
	return firstDisk + (Node(d.Major)<<minorBits|Node(d.Minor))*perDisk
}

// disk splits the number of a disk's file; i is -1 for its directory.
func (n Node) disk() (d Disk, i int, ok bool) {
	if n < firstDisk || n >= firstDisk+perDisk<<(12+minorBits) {
		return d, 0, false
	}
	number, i := uint32((n-firstDisk)/perDisk), int((n-firstDisk)%perDisk)-1
	return Disk{number >> minorBits, number & (1<<minorBits - 1)}, i, i < len(diskFiles)
}

// name gives what the host calls the disk; it fails for a partition, which has a directory
// below its disk's.
func (d Disk) name() (string, error) {
	link, err := os.Readlink("/sys/dev/block/" + d.String())
	name := filepath.Base(link)
	if err == nil {
		_, err = os.Lstat(filepath.Join(blockDir, name))
	}
	return name, err
}

// blocks lists the directories of disks.
func blocks(disks []Disk) (list []file) {
	for _, d := range disks {
		if name, err := d.name(); err == nil {
			list = append(list, file{d.node(), name, true})
		}
	}
	return list
}

// below lists the directory of a disk.
func (d Disk) below() (list []file) {
	for _, f := range diskFiles {
		list = append(list, file{d.node() + 1 + f.node, f.name, f.dir})
	}
	return list
}

// Disks gives those that the guest used, as far as somebody counts.
func (g *Guest) Disks() (list []Disk) {
	for number := range g.io() {
		if d, ok := parseDisk(number); ok {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b Disk) int { return int(a.node()) - int(b.node()) })
	return list
}

// disk gives a file of a disk.
func (g *Guest) disk(d Disk, i int) ([]byte, error) {
	if i == diskStat {
		return DiskStat(g.io()[d.String()]), nil
	}
	name, err := d.name()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(blockDir, name, diskFiles[i].name))
}
