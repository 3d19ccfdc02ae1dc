# vserver: build, install, test. `make help` lists what can be made.

VERSION ?= 0.1.0
GO      ?= go
DESTDIR ?=
PREFIX  ?= /usr/local
DIST    ?= dist
DEBARCH ?= $(shell dpkg --print-architecture 2>/dev/null || echo amd64)

LDFLAGS := -s -w -X vserver/cli.version=$(VERSION)
# vserver is entered by code of its own, see packages spawn/warm, spawn/ready and kernel/solo.
GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" \
	-ldflags "vserver/cmd/vserver=$(LDFLAGS) -E vserver/spawn/warm.begin"

.PHONY: help build install uninstall deb demo test bench cross fmt clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the static programs, bin/vserver and vserver-image, and their other names
	$(GOBUILD) -o bin/ ./cmd/vserver ./cmd/vserver-image
	@for name in $$(cat scripts/names); do ln -sf vserver bin/$$name; done

install: build ## program, names, man pages, completions, units; DESTDIR and PREFIX are heeded
	scripts/install "$(DESTDIR)" "$(PREFIX)"

uninstall: ## what install put there; guests and their specs stay
	scripts/install --remove "$(DESTDIR)" "$(PREFIX)"

deb: build ## a Debian package in dist/
	DIST="$(DIST)" scripts/deb "$(VERSION)" "$(DEBARCH)"

demo: build ## a guest made from this host, started, used, stopped and deleted; as root
	scripts/demo

test: ## every tier of the tests; installs what they need; as root
	scripts/deps test
	scripts/test

bench: build ## our times beside the kernel's floor and other tools; as root
	scripts/deps bench
	$(GO) run ./bench

cross: ## build for arm64 and armv7 and see that the programs start
	scripts/deps cross
	GOARCH=arm64 $(GOBUILD) -o $(DIST)/arm64/ ./cmd/vserver ./cmd/vserver-image
	qemu-aarch64-static $(DIST)/arm64/vserver --version
	echo unpacked | gzip | qemu-aarch64-static $(DIST)/arm64/vserver-image unzip
	GOARCH=arm GOARM=7 $(GOBUILD) -o $(DIST)/armv7/ ./cmd/vserver ./cmd/vserver-image
	qemu-arm-static $(DIST)/armv7/vserver --version
	echo unpacked | gzip | qemu-arm-static $(DIST)/armv7/vserver-image unzip

fmt: ## format the source
	gofmt -w $$($(GO) list -f '{{.Dir}}' ./...)

clean: ## remove what was built here
	rm -rf bin dist .cache
