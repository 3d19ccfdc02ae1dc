package store

import (
	"os"
	"path/filepath"
	"testing"
)

const web1 = `# the shop's front
xid: 12
hostname: web1.example.org
root:
  lower: [bookworm] # the image
init:
  style: plain
  stop_timeout: 2m
  environment:
    LANG: C.UTF-8
network:
  addresses:
    - 192.0.2.10/24
    - 2001:db8::10/64
limits:
  memory: 512M
  cpus: 1.5
  rlimits: {nofile: "1024:4096"}
boot:
  depends: [db1]
restart: on-failure
`

func BenchmarkLoad(b *testing.B) {
	p := filepath.Join(b.TempDir(), "web1.yaml")
	if err := os.WriteFile(p, []byte(web1), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(p); err != nil {
			b.Fatal(err)
		}
	}
}
