package host

import (
	"vserver/guest"
	"vserver/store"
)

// lock takes the lock of a guest, waiting a while for another operation on it. unlock
// may be called twice.
func (h *Host) lock(n guest.Name) (unlock func(), err error) {
	release, err := store.Lock(h.Dirs.Lock(n), lockWait)
	if err != nil {
		return nil, err
	}
	return func() {
		if release != nil {
			release()
			release = nil
		}
	}, nil
}
