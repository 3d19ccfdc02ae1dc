package pool

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/layer"
)

// describe fills in what a finished tree, of strangers' perhaps, says of itself.
func describe(ctx context.Context, tree string, m *Meta) error {
	d, err := file.OpenDir(tree)
	if err != nil {
		return err
	}
	defer d.Close()
	const longest = 64 << 10                                             // of an os-release in bytes; Debian's has 270
	for _, p := range []string{"etc/os-release", "usr/lib/os-release"} { // os-release(5)
		text, err := layer.Content(d, p, longest)
		if err != nil {
			return err
		}
		if text != nil {
			m.Distribution, m.Release = release(text)
			break
		}
	}
	arch, err := machine(d)
	if err != nil {
		return err
	}
	if m.Arch != "" && arch != "" && m.Arch != arch {
		return fmt.Errorf("architecture %s: the programs are for %s: %w", m.Arch, arch, guest.ErrInvalid)
	}
	m.Arch = cmp.Or(m.Arch, arch)
	sum, err := layer.Digest(ctx, d, nil)
	m.Digest, m.Files, m.Bytes = sum.Digest, sum.Files, sum.Bytes
	return err
}

// release reads an os-release(5) file. What is no word, the file being anybody's, is left
// out.
func release(text []byte) (distribution, release string) {
	got := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if value = strings.Trim(value, `"'`); ok && len(value) <= 64 && isWord(value) {
			got[key] = value
		}
	}
	return got["ID"], cmp.Or(got["VERSION_ID"], got["VERSION_CODENAME"], got["BUILD_ID"])
}

// machine tells which machine the first program found is for; "" when there is none.
func machine(d *file.Dir) (string, error) {
	const header = 20 // of an ELF file in bytes, up to and with e_machine
	for _, p := range []string{"bin/sh", "usr/bin/env", "sbin/init", "bin/busybox", "lib/ld-linux.so.2"} {
		head, err := layer.Content(d, p, header)
		if err != nil {
			return "", err
		}
		if arch := elf(head); arch != "" {
			return arch, nil
		}
	}
	return "", nil
}

// elf reads the beginning of an ELF file, elf(5).
func elf(head []byte) string {
	if len(head) < 20 || !bytes.HasPrefix(head, []byte("\x7fELF")) {
		return ""
	}
	const class64, little = 2, 1 // EI_CLASS, EI_DATA
	is64, order := head[4] == class64, binary.ByteOrder(binary.BigEndian)
	if head[5] == little {
		order = binary.LittleEndian
	}
	end := map[bool]string{true: "le"}[head[5] == little]
	switch order.Uint16(head[18:]) { // e_machine, linux/elf-em.h
	case 3:
		return "386"
	case 8:
		return "mips" + map[bool]string{true: "64"}[is64] + end
	case 21:
		return "ppc64" + end
	case 22:
		return "s390x"
	case 40:
		return "arm"
	case 62:
		return "amd64"
	case 183:
		return "arm64"
	case 243:
		return "riscv64"
	case 258:
		return "loong64"
	}
	return ""
}
