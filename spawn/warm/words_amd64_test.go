package warm

import (
	"strings"
	"testing"
	"unsafe"
)

// stackOf is what the kernel leaves of these words where a program is entered.
func stackOf(words []string) unsafe.Pointer {
	stack := make([]unsafe.Pointer, len(words)+3)
	*(*int)(unsafe.Pointer(&stack[0])) = len(words)
	for i, w := range words {
		stack[1+i] = unsafe.Pointer(&append([]byte(w), 0)[0])
	}
	return unsafe.Pointer(&stack[0])
}

// TestPlain: what has to do with files or the time of its caller's is not plain, nor what takes long or asks.
func TestPlain(t *testing.T) {
	for line, want := range map[string]bool{
		"vserver start web1":                                    true,
		"/usr/sbin/vserver web1 restart":                        true,
		"vserver start web1 --wait":                             true,
		"vserver stop web1 --wait":                              false,
		"vserver start web1 web2":                               false,
		"vserver start --all":                                   false,
		"vserver start ./web1.yaml":                             false,
		"vserver start":                                         false,
		"vserver web1":                                          false,
		"vps start web1":                                        false,
		"vserver clone web1 web2":                               true,
		"vserver web1 clone web2":                               true,
		"vserver web1 clone web2 web3":                          false,
		"vserver clone web1 web2 --snapshot first":              false,
		"vserver snapshot create web1":                          true,
		"vserver web1 snapshot create first":                    true,
		"vserver web1 snapshot diff first":                      false,
		"vserver snapshot list web1":                            false,
		"vserver rollback web1 first":                           true,
		"vserver delete web1":                                   false, // asks
		"vserver delete web1 --force":                           true,
		"vserver web1 delete --silent":                          false,
		"vserver create web1":                                   false,
		"vserver create web1 --image debian --ip 192.0.2.10/24": true,
		"vserver web1 build --xid 100 --image debian":           true,
		"vserver build web1 --image":                            false,
		"vserver build web1 --image debian --ssh-key id.pub":    false,
		"vserver build web1 --xid 100":                          false,
		"vserver exec web1 true":                                false,
		"vserver create web1 --image i" + strings.Repeat(" --ip 192.0.2.10/24", maxWords/2): false,
	} {
		if got := plain(stackOf(strings.Fields(line))); got != want {
			t.Errorf("%s: plain: %v", line, got)
		}
	}
}
