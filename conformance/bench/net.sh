#!/usr/bin/env bash
# Throughput of storage receivers on the loopback interface, beside other implementations. Prints a Markdown table.
#
#   conformance/bench/net.sh [-a N] [-b N] [-runs N] [-dir DIRECTORY] [-only NAME,...]
#
# ECHONODE_PYTHON names a Python with pynetdicom. About four gigabytes are written per receiver and run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/receiver" ./conformance/interop/receiver
go build -o "$bin/net" ./conformance/bench/net
(cd conformance/netdicom && go build -o "$bin/netdicom-receiver" ./receiver) || echo 'net.sh: go-netdicom does not build, left out' >&2
"$bin/net" -bin "$bin" "$@"
