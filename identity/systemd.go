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

// generators masks the pointless ones, as systemd.generator(7) has it: by an empty file
// of the name where the administrator's own would be. One that is there stays.
func generators(r *layer.Root) error {
	const own = "etc/systemd/system-generators"
	var have []string
	for _, dir := range []string{"usr/lib/systemd/system-generators", "lib/systemd/system-generators"} {
		names, err := r.Names(dir)
		if err != nil && !notThere(err) {
			return err
		}
		have = append(have, names...)
	}
	there, err := r.Names(own)
	if err != nil && !notThere(err) {
		return err
	}
	for _, g := range pointless() {
		if !slices.Contains(have, g) || slices.Contains(there, g) {
			continue
		}
		if err := r.Mkdir(own, 0o755, 0, 0); err != nil {
			return err
		}
		if err := r.Write(own+"/"+g, nil, 0o644, 0, 0); err != nil {
			return err
		}
	}
	return nil
}
