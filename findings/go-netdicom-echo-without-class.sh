#!/usr/bin/env bash
# go-netdicom (github.com/grailbio/go-netdicom at 7caf23f3f5be, archived) against dcmtk 3.6.7: its C-ECHO request has no Affected SOP
# Class UID (0000,0002), which PS3.7 table 9.3-12 requires. dcmtk's storescp accepts the association, cannot parse the command and aborts,
# so that a peer that works looks dead to a Go program that asks with CEcho.
#
# dcmtk's own echoscu gets its answer from the same storescp.
# Needs apt-get on Debian 12 x86_64, go, python3. Run: 1 minute. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'kill "${scp:-}" 2>/dev/null || true; wait 2>/dev/null || true; chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
# Debian 12 packages at these versions, unpacked in the temporary folder with everything they need; the system stays as it is.
debian() {
	mkdir -p "$tmp/apt/lists/partial" "$tmp/apt/cache/archives/partial" "$tmp/root"
	local option options=()
	for option in "Dir::State=$tmp/apt" "Dir::State::Lists=$tmp/apt/lists" Dir::State::status=/dev/null "Dir::Cache=$tmp/apt/cache" \
		APT::Install-Recommends=false APT::Sandbox::User=root; do
		options+=(-o "$option")
	done
	apt-get -qq "${options[@]}" update
	apt-get -qq -y "${options[@]}" --download-only install "$@" >/dev/null
	for deb in "$tmp"/apt/cache/archives/*.deb; do dpkg-deb -x "$deb" "$tmp/root"; done
	libraries=$(find "$tmp/root" -name "*.so*" -printf "%h\n" | sort -u | paste -s -d :)
}
# run PROGRAM ARG...: with the libraries of those packages
run() { "$tmp"/root/lib64/ld-linux-x86-64.so.2 --library-path "$libraries" "$(ls "$tmp"/root/usr/{bin,sbin}/"$1" 2>/dev/null)" "${@:2}"; }
# serve PROGRAM ARG... &: the same as a server; $! is then the program itself, which kill ends
serve() { exec "$tmp"/root/lib64/ld-linux-x86-64.so.2 --library-path "$libraries" "$(ls "$tmp"/root/usr/{bin,sbin}/"$1" 2>/dev/null)" "${@:2}"; }

debian 'dcmtk=3.6.7-*'
export DCMDICTPATH=$tmp/root/usr/share/libdcmtk17/dicom.dic

mkdir "$tmp/echo"
cat >"$tmp/echo/go.mod" <<'MOD'
module echo

go 1.21

require github.com/grailbio/go-netdicom v0.0.0-20211105192932-7caf23f3f5be

// Its own go.mod asks for a version of go-dicom that does not exist.
replace github.com/grailbio/go-dicom => github.com/grailbio/go-dicom v0.0.0-20211105193521-b0e216a1c5cd
MOD
cat >"$tmp/echo/main.go" <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/grailbio/go-netdicom"
)

func main() {
	user, err := netdicom.NewServiceUser(netdicom.ServiceUserParams{CalledAETitle: "STORESCP", CallingAETitle: "ECHO",
		SOPClasses: []string{"1.2.840.10008.1.1"}})
	if err != nil {
		panic(err)
	}
	defer user.Release()
	user.Connect(os.Args[1])
	fmt.Println("answer:", user.CEcho())
}
GO
(cd "$tmp/echo" && GOFLAGS=-mod=mod GOMODCACHE=$tmp/mod go mod tidy 2>"$tmp/tidy" && GOFLAGS=-mod=mod GOMODCACHE=$tmp/mod CGO_ENABLED=0 go build -o "$tmp/goecho" .) || { cat "$tmp/tidy"; exit 1; }

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
run storescp --version | sed -n 1p
serve storescp -d -od "$tmp" "$port" >"$tmp/log" 2>&1 &
scp=$!
until python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)' "$port" 2>/dev/null; do kill -0 "$scp" || { cat "$tmp/log"; exit 1; }; sleep 0.2; done
code=0
run echoscu 127.0.0.1 "$port" || code=$?
echo "echoscu: exit code $code"
timeout 60 "$tmp/goecho" "127.0.0.1:$port" >"$tmp/out" 2>/dev/null || true
grep '^answer:' "$tmp/out" | sed 's/^/go-netdicom: /'
grep 'DIMSE failure' "$tmp/log" | sed 's/^/storescp: /' || true
if [[ $code != 0 ]] || ! grep -q '^answer: Failed to receive C-ECHO response' "$tmp/out" || ! grep -q '(0000,0002) AffectedSOPClassUID' "$tmp/log"; then
	echo "CHANGED"
	cat "$tmp/out"
	tail "$tmp/log"
	exit 1
fi
