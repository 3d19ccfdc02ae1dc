package identity

import (
	"slices"

	"vserver/layer"
)

// pointless are systemd's generators for things that a guest has not: disks to find and
// to unlock, a kernel's command line, a hibernated machine, a TPM, updates while offline.
// Together they take a fifth of a small guest's boot, to find nothing to do.
func pointless() []string {
	return []string{
		"systemd-bless-boot-generator", "systemd-cryptsetup-generator", "systemd-debug-generator",
		"systemd-gpt-auto-generator", "systemd-hibernate-resume-generator", "systemd-integritysetup-generator",
		"systemd-run-generator", "systemd-system-update-generator", "systemd-tpm2-generator", "systemd-veritysetup-generator",
	}
}

// machines are units for the machine below a system: its kernel's modules and debugging
// files, device nodes, disks, boot loader, TPM, and the initrd that came before it. Most
// have a condition that leaves them out in a container, once they are loaded; those that
// run find nothing that they may do. A tenth of a small guest's boot.
func machines() []string {
	return []string{
		"kmod-static-nodes.service", "modprobe@.service", "systemd-modules-load.service",
		"sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount", "sys-fs-fuse-connections.mount",
		"systemd-tmpfiles-setup-dev-early.service", "systemd-tmpfiles-setup-dev.service",
		"systemd-remount-fs.service", "systemd-fsck-root.service", "systemd-fsckd.service", "systemd-fsckd.socket",
		"systemd-repart.service", "systemd-volatile-root.service",
		"cryptsetup.target", "integritysetup.target", "remote-cryptsetup.target", "remote-veritysetup.target", "veritysetup.target",
		"e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
		"systemd-hibernate-clear.service", "systemd-pstore.service", "systemd-random-seed.service",
		"systemd-pcrmachine.service", "systemd-pcrphase-initrd.service", "systemd-pcrphase-sysinit.service", "systemd-pcrphase.service",
		"systemd-tpm2-setup-early.service", "systemd-tpm2-setup.service",
		"initrd-cleanup.service", "initrd-fs.target", "initrd-parse-etc.service", "initrd-root-device.target", "initrd-root-fs.target",
		"initrd-switch-root.service", "initrd-switch-root.target", "initrd-udevadm-cleanup-db.service", "initrd-usr-fs.target", "initrd.target",
	}
}

// Masks masks what a guest has no use for of systemd's generators and units. It is done
// once, in the tree of an image, for all guests upon it: to look there for what may have
// come since takes a twentieth of a clone.
func Masks(r *layer.Root) error {
	if err := mask(r, "systemd/system-generators", pointless()); err != nil {
		return err
	}
	return mask(r, "systemd/system", machines())
}

// mask masks those of names that the distribution has in its directory dir, as
// systemd.generator(7) and systemctl(1) have it: by an empty file of the name where the
// administrator's own would be. One that is there stays, and so does what was taken away
// there of what an image had.
func mask(r *layer.Root, dir string, names []string) error {
	own := "etc/" + dir
	there, err := r.Listed(own)
	if err != nil && !notThere(err) {
		return err
	}
	for _, lib := range []string{"usr/lib/", "lib/"} {
		have, err := r.Listed(lib + dir)
		if err != nil && !notThere(err) {
			return err
		}
		for _, n := range names {
			if !slices.Contains(have, n) || slices.Contains(there, n) {
				continue
			}
			if _, err := r.Stat(lib + dir + "/" + n); err != nil {
				if notThere(err) {
					continue
				}
				return err
			}
			if err := r.Mkdir(own, 0o755, 0, 0); err != nil {
				return err
			}
			if err := r.Write(own+"/"+n, nil, 0o644, 0, 0); err != nil {
				return err
			}
			there = append(there, n)
		}
	}
	return nil
}
