# EchoNode. `make demo` and `make test` do all their own set-up on a fresh Debian 12 or Ubuntu machine with Go, git and
# make; `make help` lists the rest.

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 10s
BENCHTIME   ?= 2s
# Tests skip what is not there; make test insists on it.
PEERS       := storescu storescp dcmsend echoscu dcmconv dcmdump dcmj2pnm dsrdump Orthanc dciodvfy ffmpeg chromium
LOOPS       := github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd
DEMO_OUT    ?= demo-output

# cgo links the image codecs and the ONNX Runtime binding; an environment that turned it off would fail obscurely.
export CGO_ENABLED = 1

.DEFAULT_GOAL := build
.PHONY: help setup setup-test setup-gpu test-gpu build demo test check test-modules test-python test-web test-go fuzz-short bench clean

help:
	@echo 'make setup       packages and ONNX Runtime that building and running need (root or sudo for packages)'
	@echo 'make setup-gpu   ONNX Runtime with the CUDA and TensorRT providers, beside the other'
	@echo 'make build       bin/echonode, with ONNX Runtime beside it in bin/lib'
	@echo 'make demo        set up, build, run the node on real echo loops and show what comes back; ARCHIVE=AE@HOST:PORT'
	@echo '                 delivers to a PACS of yours instead of our own archive, WEB=1 stays with the review page'
	@echo 'make test        set up with test peers, vet, gofmt, staticcheck, a short fuzz run and all tests with the race detector'
	@echo 'make test-gpu    tests and benchmark of the engine on a GPU: GPU=cuda (default) or tensorrt, after make setup-gpu'
	@echo 'make fuzz-short  every fuzz target for FUZZTIME ($(FUZZTIME))'
	@echo 'make bench       Go benchmarks'
	@echo 'make clean       remove what make made'

setup:
	@conformance/setup/setup.sh run

setup-test:
	@conformance/setup/setup.sh test

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

# go test runs last, so that the output closes with its own lines.
test: setup-test
	@for tool in $(PEERS); do command -v $$tool >/dev/null || { echo "test: $$tool is missing after the set-up; its tests would skip"; exit 1; }; done
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
	@echo 'test: staticcheck'
	@$(GO) run $(STATICCHECK) ./...

# Small modules of their own under conformance: peers whose dependencies stay out of the shipped module.
test-modules:
	@for module in $$(find conformance -name go.mod -not -path '*/testdata/*'); do \
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
	@ECHONODE_PEERS=required ECHONODE_PYTHON=$(CURDIR)/.build/peers/bin/python $(GO) test -race -timeout 30m ./...

# go test fuzzes one target of one package at a time.
fuzz-short: setup
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' "$$package" | grep '^Fuzz'); do \
			echo "fuzz: $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$$package" || exit 1; \
		done; \
	done

bench: setup
	@$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

clean:
	rm -rf bin .build $(DEMO_OUT)
