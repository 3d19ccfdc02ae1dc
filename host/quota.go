package host

import (
	"context"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/disk"
)

// Quotas lists what the users, or groups, of guest n have of the disk, and may have. The
// error is guest.ErrUnsupported when its file system counts none.
func Quotas(h *Host, n guest.Name, k guest.QuotaKind) ([]guest.Quota, error) {
	list, err := disk.Quotas(h.Dirs, n, k)
	return list, fault.New(string(n), "quota", err)
}

// SetQuota changes what a user or group of guest n, by its name or number there, may have
// of the disk, at once.
func SetQuota(h *Host, n guest.Name, k guest.QuotaKind, who string, change func(*guest.Quota)) error {
	return fault.New(string(n), "quota", disk.SetQuota(h.Dirs, n, k, who, change))
}

// Adopt has the files of guest n, which must be stopped, counted as its own, where they
// were copied from elsewhere.
func Adopt(ctx context.Context, h *Host, n guest.Name) error {
	return fault.New(string(n), "quota", disk.Adopt(ctx, h.Dirs, n))
}
