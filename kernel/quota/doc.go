// Package quota is the door to what file systems count and bound: quotas of users,
// groups and projects (ext4, XFS, and others that keep to quotactl(2)), the project that
// a file belongs to, and the groups of btrfs.
//
// Quotas are asked for and set by an open directory (quotactl_fd(2), Linux 5.14), so no
// block device is searched for and a detached mount will do. A quota is there in two
// degrees: use is counted, and limits are enforced. ext4 counts with the feature quota
// (and project, for projects) of its superblock and enforces with the mount options
// usrquota, grpquota and prjquota; its modules are quota_v2 and quota_tree. XFS does both
// with the mount options uquota, gquota and pquota, given at the first mount. A quota that
// is not there answers ESRCH, a file system that knows none ENOSYS.
//
// A project is a number that a file has beside its owner. A new file gets that of its
// directory when that has the flag to inherit; link(2) and rename(2) of a file into such a
// directory of another project give EXDEV, which programs take for another file system.
// statfs(2) of such a directory tells the project's limits as the size of the file system
// (ext4 and XFS), also through an overlay whose upper directory it is. Only the initial
// user namespace may change a project, in all file systems alike (Linux 5.13, fs/ioctl.c:
// EINVAL); but see package seccomp for the way that an overlay opens. Before
// file_setattr(2) of 6.17, symbolic links, sockets, fifos and devices can be given no
// project, only be born with it. ext4 answers EDQUOT at a project's limit, XFS ENOSPC.
//
// btrfs counts by subvolume: each has a qgroup 0/ID once quotas are enabled for the whole
// file system (btrfs quota enable; --simple costs less, Linux 6.7). A qgroup bounds
// bytes, not files, and statfs(2) does not tell it. Its counts as read here are those of
// the last commit, by default every 30 s. There are no quotas of users.
package quota
