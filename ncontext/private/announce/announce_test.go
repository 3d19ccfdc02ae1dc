package announce

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"testing"
)

func hw() net.HardwareAddr { return net.HardwareAddr{2, 0x76, 0x73, 0, 8, 1} }

// TestARP holds the message to the layout of RFC 826.
func TestARP(t *testing.T) {
	want := "0001" + "0800" + "06" + "04" + "0001" + "027673000801" + "c000020a" + "000000000000" + "c000020a"
	if got := hex.EncodeToString(arpAnnouncement(hw(), netip.MustParseAddr("192.0.2.10"))); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestAdvertisement holds the packet to RFC 4861, its checksum included.
func TestAdvertisement(t *testing.T) {
	a := netip.MustParseAddr("2001:db8::10")
	p := advertisement(hw(), a)
	if len(p) != 40+32 || p[0] != 0x60 || p[5] != 32 || p[6] != 58 || p[7] != 255 {
		t.Fatalf("% x", p)
	}
	to := netip.MustParseAddr("ff02::1")
	if !bytes.Equal(p[8:24], a.AsSlice()) || !bytes.Equal(p[24:40], to.AsSlice()) || !bytes.Equal(p[48:64], a.AsSlice()) {
		t.Errorf("addresses % x", p)
	}
	if p[40] != 136 || p[44] != 0x20 || !bytes.Equal(p[64:], append([]byte{2, 1}, hw()...)) {
		t.Errorf("message % x", p[40:])
	}
	sum := uint32(32 + 58) // of the pseudo header: length and protocol
	for i := 8; i < len(p); i += 2 {
		sum += uint32(p[i])<<8 | uint32(p[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum != 0xffff {
		t.Errorf("checksum gives %x", sum)
	}
}
