#!/usr/bin/env bash
# builds.sh DIR: builds this tree into DIR/bin and the commit $OLD (default 7e0081e, empty for none) into DIR/old-bin, each
# with ONNX Runtime beside it, and copies the demonstration's ultrasound loops to DIR/loops. Used by the benchmarks that
# compare two builds in one run.
set -euo pipefail
work=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
old=${OLD-7e0081e}
"$root/conformance/setup/setup.sh" run >&2
mkdir -p "$work/bin/lib" "$work/old-bin/lib" "$work/loops"
(cd "$root" && go build -o "$work/bin/echonode" ./cmd/echonode)
cp "$root"/.build/onnxruntime/libonnxruntime* "$work/bin/lib/"
if [[ -n $old ]]; then
	git -C "$root" worktree add --detach --quiet "$work/old" "$old"
	(cd "$work/old" && go build -o "$work/old-bin/echonode" ./cmd/echonode)
	cp "$work"/bin/lib/* "$work/old-bin/lib/"
fi
module=$(cd / && go mod download -json "$(sed -n 's/^const exampleLoops = "\(.*\)"/\1/p' "$root/cmd/echonode/internal/cli/demo.go")" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
cp "$module"/examples/I_0000*.dcm "$work/loops/"
chmod u+w "$work"/loops/*
rm -f "$work/loops/I_000000.dcm" # an X-ray
