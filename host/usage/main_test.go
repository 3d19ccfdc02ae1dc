package usage

import (
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }
