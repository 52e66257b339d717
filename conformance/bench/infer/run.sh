#!/usr/bin/env bash
# Inference speed of package models beside ONNX Runtime in Python, and equality of their outputs.
#
#   run.sh [--frames N] [--repeat N] [MODEL.onnx ...]     default: the shipped model(s)
#
# ONNX Runtime for Python and numpy go to .build/bench-python; needs python3 >= 3.11 with pip.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
packages=$root/.build/bench-python

"$root/conformance/setup/setup.sh" run
if ! PYTHONPATH=$packages python3 -c 'import numpy, onnxruntime; assert onnxruntime.__version__ == "1.30.0"' 2>/dev/null; then
	echo "bench: fetching ONNX Runtime for Python"
	python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --upgrade --no-deps \
		--target "$packages" onnxruntime==1.30.0 numpy==2.3.5
fi

options=()
while [[ ${1:-} == --* ]]; do
	options+=("$1" "$2")
	shift 2
done
if (($# == 0)); then
	set -- "$root"/models/echonode-lv*.onnx
fi
(cd "$root" && go build -o .build/infer ./conformance/bench/infer)
exec env ECHONODE_ONNXRUNTIME="$root/.build/onnxruntime" PYTHONPATH="$packages" python3 "$here/compare.py" --infer "$root/.build/infer" "${options[@]}" "$@"
