# EchoNode. `make demo` and `make test` do all their own set-up on a fresh Debian 12 or Ubuntu machine with Go, git and
# make; `make help` lists the rest.

GO          ?= go
# The version is the top one of the changelog: 0.5.0 at its tag v0.5.0, 0.5.0-dev.COMMIT before.
RELEASE     := $(shell sed -n 's/^\#\# \[\([0-9.]*\)\].*/\1/p' CHANGELOG.md | head -n 1)
VERSION     ?= $(if $(filter v$(RELEASE),$(shell git describe --tags --exact-match --dirty 2>/dev/null)),$(RELEASE),$(RELEASE)-dev.$(shell git describe --always --dirty 2>/dev/null | tr - .))
# errcheck, staticcheck, depguard and others as .golangci.yml says; compiling it takes a minute and a half on two cores, once.
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME    ?= 10s
BENCHTIME   ?= 2s
# Tests skip what is not there; make test insists on it.
PEERS       := storescu storescp dcmsend echoscu dcmconv dcmdump dcmj2pnm dsrdump Orthanc dciodvfy ffmpeg chromium
LOOPS       := github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd
DEMO_OUT    ?= demo-output
DIST        ?= dist
DEADCODE    := golang.org/x/tools/cmd/deadcode@v0.52.0
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
PACKAGING   := cmd/echonode/packaging

# The race detector watches our code and the libraries' Go; SQLite, translated from C by a program, is ten times slower under it.
RACE        := -race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false

# cgo links the image codecs and the ONNX Runtime binding; an environment that turned it off would fail obscurely.
export CGO_ENABLED = 1

.DEFAULT_GOAL := build
.PHONY: help setup setup-test setup-gpu setup-release test-gpu build demo test check test-modules test-python test-web test-go fuzz-short bench load faults clean
.PHONY: mutate dead
.PHONY: release release-check test-package test-monitoring licences vuln findings

help:
	@echo 'make setup       packages and ONNX Runtime that building and running need (root or sudo for packages)'
	@echo 'make load        the built node under many associations of costly objects, two minutes'
	@echo 'make faults      ROUNDS ($(ROUNDS)) rounds of faults on the built node: kills, refusing archives, full disks,'
	@echo '                 several processes with database and object store going away; FAULTS=TestRoles for these alone'
	@echo 'make setup-gpu   ONNX Runtime with the CUDA and TensorRT providers, beside the other'
	@echo 'make build       bin/echonode, with ONNX Runtime beside it in bin/lib'
	@echo 'make demo        set up, build, run the node on real echo loops and show what comes back; ARCHIVE=AE@HOST:PORT'
	@echo '                 delivers to a PACS of yours instead of our own archive, WEB=1 stays with the review page'
	@echo 'make test        set up with test peers, vet, gofmt, golangci-lint, a short fuzz run and all tests with the race detector'
	@echo 'make test-gpu    tests and benchmark of the engine on a GPU: GPU=cuda (default) or tensorrt, after make setup-gpu'
	@echo 'make fuzz-short  every fuzz target for FUZZTIME ($(FUZZTIME))'
	@echo 'make bench       Go benchmarks'
	@echo 'make release     Debian packages (amd64, arm64), container image, bills of materials and checksums in $(DIST)/; Debian 12, root'
	@echo 'make release-check     make the release twice and compare it byte by byte'
	@echo 'make test-package      the package in a bare Debian 12 under systemd: install, feed, back up, upgrade, restore, remove'
	@echo 'make test-monitoring   alerts and dashboard against promtool and a running node'
	@echo 'make licences    licences of everything the program is made of; fails for one that is not allowed'
	@echo 'make vuln        govulncheck, where its database can be reached'
	@echo 'make findings    what outside software does, shown again by the scripts in findings/'
	@echo 'make mutate      changes PKG ($(PKG)) in one place at a time and tells what no test of TESTS notices; N mutants ($(N));'
	@echo '                 FILES=a.go,b.go for these alone, RUN=TestA for the tests that match'
	@echo 'make dead        functions that neither the programs nor their tests call'
	@echo 'make clean       remove what make made'

setup:
	@conformance/setup/setup.sh run

setup-test:
	@conformance/setup/setup.sh test

setup-release:
	@conformance/setup/setup.sh release

setup-gpu:
	@conformance/setup/setup.sh gpu

# CUDA 13 and cuDNN 9 must be where the loader finds them (LD_LIBRARY_PATH).
GPU ?= cuda
test-gpu:
	@cd models && ECHONODE_ONNXRUNTIME=$(CURDIR)/.build/onnxruntime-gpu ECHONODE_TEST_GPU=$(GPU) $(GO) test -v -run GPU -bench GPU -benchtime 20x .

build: setup
	@echo "build: bin/echonode $(VERSION)"
	@$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/echonode ./cmd/echonode
	@ln -sfn ../.build/onnxruntime bin/lib

demo: build
	@bin/echonode demo --out $(DEMO_OUT) $(if $(ARCHIVE),--archive $(ARCHIVE)) $(if $(WEB),--web)

# What no test holds in place: PKG=./pipeline/measure TESTS=./pipeline/measure,./pipeline N=200.
PKG ?= ./pipeline/lv
N   ?= 100
mutate:
	@$(GO) run ./conformance/mutate -n $(N) $(if $(TESTS),-tests $(TESTS)) $(if $(FILES),-file $(FILES)) $(if $(RUN),-run '$(RUN)') $(PKG)

dead:
	@$(GO) run $(DEADCODE) -test ./...

# Rounds of faults on the built node: killed and stopped at random instants, archives that refuse, disks that fill up. As many as there
# is time for.
ROUNDS ?= 200
FAULTS_FOR ?= 24h
FAULTS ?= TestFaultRounds|TestRoles|TestFullSpool|TestFullDatabase
faults: setup-test
	@ECHONODE_ROUNDS=$(ROUNDS) $(GO) test -count 1 -timeout $(FAULTS_FOR) -v -run '$(FAULTS)' ./conformance/mainjob

# Two minutes of the worst objects of every kind, at harmless sizes.
load: setup-test
	@$(GO) run ./conformance/load

# go test runs last, so that the output closes with its own lines.
test: setup-test
	@for tool in $(PEERS); do command -v $$tool >/dev/null || { echo "test: $$tool is missing after the set-up; its tests would skip"; exit 1; }; done
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null || { echo "test: PostgreSQL is missing after the set-up; its tests would skip"; exit 1; }
	@cd / && $(GO) mod download $(LOOPS)
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory test-modules
	@$(MAKE) --no-print-directory test-python
	@$(MAKE) --no-print-directory test-web
	@$(MAKE) --no-print-directory fuzz-short FUZZTIME=500x
	@$(MAKE) --no-print-directory test-go

check:
	@echo 'test: gofmt'
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt-formatted:"; echo "$$unformatted"; exit 1; fi
	@echo 'test: go mod tidy'
	@$(GO) mod tidy -diff
	@echo 'test: go vet'
	@$(GO) vet ./...
	@echo 'test: actionlint'
	@$(GO) run $(ACTIONLINT) -shellcheck= -pyflakes= .github/workflows/*.yml
	@echo 'test: golangci-lint'
	@$(GO) run $(GOLANGCI) run --allow-parallel-runners ./...

# Small modules of their own under conformance: peers whose dependencies stay out of the shipped module.
test-modules:
	@for module in $$(find conformance $(PACKAGING) -name go.mod -not -path '*/testdata/*'); do \
		dir=$$(dirname "$$module"); \
		echo "test: $$dir"; \
		(cd "$$dir" && $(GO) mod tidy -diff && $(GO) vet ./... && ECHONODE_PEERS=required $(GO) test ./...) || exit 1; \
	done

# The training pipeline's own tests, as far as the system's Python can run them.
test-python:
	@echo 'test: models/training'
	@/usr/bin/python3 conformance/setup/python_tests.py

# The review page's client: types, where npm is. That the bundle is current is a Go test and needs no npm.
test-web:
	@echo 'test: types of the review page'
	@if command -v npm >/dev/null; then \
		cd pipeline/review/web && npm ci --silent --no-fund --no-audit && npm run --silent check && cmp vendor/uplot/uPlot.js node_modules/uplot/dist/uPlot.esm.js; \
	else echo 'test: npm is not installed; the types were not checked'; fi

test-go:
	@echo 'test: go test -race ./...'
	@ECHONODE_PEERS=required ECHONODE_PYTHON=$(CURDIR)/.build/peers/bin/python $(GO) test $(RACE) -timeout 30m ./...
	@commit=$$(sed -n 's/^const versionBefore = "\(.*\)"$$/\1/p' conformance/mainjob/upgrade_test.go); \
		git cat-file -e "$$commit^{commit}" 2>/dev/null || \
		echo "test: NOT TESTED: the rolling upgrade: this clone is shallow or has no git, and lacks the version before ($$commit)"

# One target at a time; a package's targets are built once, as go test would build each of them.
fuzz-short: setup
	@set -e; cache=$$($(GO) env GOCACHE)/fuzz; binary=$$(mktemp); trap 'rm -f "$$binary"' EXIT; \
	packages=$$($(GO) list -f '{{.ImportPath}} {{.Dir}}' ./...); echo "$$packages" | while read -r package dir; do \
		targets=$$(cat "$$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); \
		[ -n "$$targets" ] || continue; \
		$(GO) test -c -fuzz . -o "$$binary" "$$package"; \
		for target in $$targets; do \
			echo "fuzz: $$package $$target"; \
			(cd "$$dir" && "$$binary" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 100x \
				-test.fuzzcachedir "$$cache/$$package"); \
		done; \
	done

bench: setup
	@$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

# ---- releases ----------------------------------------------------------------------------------------------------

release: setup-release
	@VERSION=$(VERSION) $(PACKAGING)/release.sh $(DIST)

release-check: setup-release
	@rm -rf .build/release/first .build/release/second
	@VERSION=$(VERSION) $(PACKAGING)/release.sh .build/release/first
	@VERSION=$(VERSION) $(PACKAGING)/release.sh .build/release/second
	@diff -r .build/release/first .build/release/second && cat .build/release/first/SHA256SUMS && echo 'release-check: both are the same'

test-package: setup-release
	@VERSION=$(VERSION) $(PACKAGING)/test-package.sh

test-monitoring: setup-release build
	@$(PACKAGING)/monitoring/check.sh

licences: build
	@cd $(PACKAGING) && SOURCE_DATE_EPOCH=0 $(GO) run . licences --binary $(CURDIR)/bin/echonode

# govulncheck reads its database over the network and ends with 3 when it found something.
vuln: setup
	@status=0; output=$$($(GO) run $(GOVULNCHECK) ./... 2>&1) || status=$$?; \
	if echo "$$output" | grep -q 'vuln.go.dev.*\(dial\|lookup\|no such host\|Forbidden\|timeout\|refused\)\|unexpected status\|fetching vulnerabilities'; then \
		echo 'vuln: the database of vulnerabilities (vuln.go.dev) cannot be reached from here: NOTHING WAS CHECKED'; echo "$$output" | tail -n 3; \
	else echo "$$output"; exit $$status; fi

findings:
	@for script in findings/*.sh; do echo "== $$script"; "$$script" || exit 1; done

clean:
	rm -rf bin .build $(DEMO_OUT) $(DIST)
