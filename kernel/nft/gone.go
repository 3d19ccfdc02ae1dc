package nft

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Gone calls back when a table of this name, of any family, was deleted in the network
// namespace of the calling thread, by whomever, until ctx ends; then the error is nil. It
// does so once at the beginning too: what was deleted before nobody knows.
func Gone(ctx context.Context, name string, gone func()) error {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("nf_tables: %w", err)
	}
	defer nl.Close()
	if err := nl.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("nf_tables: hear of changes: %w", err)
	}
	defer context.AfterFunc(ctx, func() { nl.Close() })()
	for gone(); ; {
		list, err := nl.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // more happened than there was room for
			return fmt.Errorf("nf_tables: changes: %w", err)
		}
		if err != nil || deleted(list, name) {
			gone()
		}
	}
}

// deleted tells whether the table of a name is among what was deleted.
func deleted(list []netlink.Message, name string) (is bool) {
	for _, m := range list {
		if m.Header.Type != messageType(unix.NFT_MSG_DELTABLE) {
			continue
		}
		err := decode(m, func(ad *netlink.AttributeDecoder) {
			is = is || ad.Type() == unix.NFTA_TABLE_NAME && ad.String() == name
		})
		is = is || err != nil
	}
	return is
}
