#!/usr/bin/env bash
# ONNX Runtime 1.30.0, CPU, x86-64 with AVX2 and without VNNI: products of 8-bit activations (unsigned) with 8-bit weights
# (signed) saturate in QLinearMatMul and MatMulInteger: two neighbouring products are added in 16 bits. The same model gives other
# numbers on a processor with VNNI. Weights of seven bits, or session.x64quantprecision=1, make every processor agree.
#
# A row of 64 activations of 255 times weights of 127 is 2,072,640. It is computed as this processor does it and, so that the
# result does not depend on which one that is, under QEMU 7.2's emulation of a Haswell, which has AVX2 and no VNNI.
# Needs apt-get on Debian 12 x86_64, python3 3.11 with pip. Run: 1 to 2 minutes. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
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

debian 'qemu-user-static=1:7.2*' 'python3=3.11*'
"$(command -v python3)" -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" --only-binary=:all: \
	--python-version 3.11 --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 \
	onnxruntime==1.30.0 onnx==1.19.1 numpy==2.3.5
cat >"$tmp/sum.py" <<'PY'
import sys
import numpy as np, onnx, onnxruntime as ort
from onnx import TensorProto, helper
ort.set_default_logger_severity(4)
def total(weight, precise):
    w = helper.make_tensor("w", TensorProto.INT8, [64, 16], [weight] * 1024)
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["a", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 64])], [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return int(session.run(None, {"a": np.full((1, 64), 255, np.uint8)})[0][0, 0])
print(ort.__version__, total(127, False), total(127, True), total(63, False))
PY
export PYTHONPATH=$tmp/py
loader=$tmp/root/lib64/ld-linux-x86-64.so.2
python=("$loader" --library-path "$libraries" "$tmp/root/usr/bin/python3.11" "$tmp/sum.py")
export PYTHONHOME=$tmp/root/usr
read -r version here precise seven < <("${python[@]}")
grep -q -w 'avx512_vnni\|avx_vnni' /proc/cpuinfo && vnni=with || vnni=without
echo "ONNX Runtime $version; exact: $((64 * 255 * 127)), with weights of 63: $((64 * 255 * 63))"
echo "this processor, $vnni VNNI:  $here; x64quantprecision: $precise; weights of 63: $seven"
read -r _ emulated precise seven < <("$tmp/root/usr/bin/qemu-x86_64-static" -cpu Haswell "${python[@]}" 2>"$tmp/qemu.log") || { cat "$tmp/qemu.log"; exit 1; }
echo "Haswell, emulated, no VNNI:   $emulated; x64quantprecision: $precise; weights of 63: $seven"
[[ $emulated == $((64 / 2 * 32767)) && $precise == $((64 * 255 * 127)) && $seven == $((64 * 255 * 63)) ]] || { echo "CHANGED"; exit 1; }
