#!/usr/bin/env bash
# Prepare a Debian 12 or Ubuntu 22.04/24.04 machine for EchoNode.
#
#   setup.sh run    what building and running needs: C compiler, image codecs, ONNX Runtime
#   setup.sh test   the same, and the peers the interoperability tests talk to
#   setup.sh release  the same as run, and what `make release` and `make test-package` need (Debian 12, root): a compiler
#                   for arm64 with Debian's codecs, ONNX Runtime for both architectures, mmdebstrap, systemd, promtool
#   setup.sh apt ARG...  apt-get, waiting for another one that holds its locks, as all of the above do
#   setup.sh gpu    the same as run, and ONNX Runtime with the CUDA and TensorRT providers (x86_64); CUDA 13, cuDNN 9
#                   and TensorRT 10 themselves come from NVIDIA's packages
#
# Only what is missing is installed, so a second run is immediate and needs no network. Go, git and make are taken
# as given. Packages need root or sudo; ONNX Runtime goes to .build/onnxruntime/ inside the tree and needs neither.
set -euo pipefail

usage() { sed -n '2,13s/^# \{0,1\}//p' "$0"; }
say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

# ---- system packages ----------------------------------------------------------------------------------------------

# gcc and the -dev packages: cgo (codecs, ONNX Runtime binding, the race detector). ffmpeg decodes video loops.
run_packages=(ca-certificates gcc libc6-dev pkg-config libjpeg-dev libopenjp2-7-dev ffmpeg)
# dcmtk, orthanc: peers; dicom3tools: dciodvfy; xfsprogs: the power cuts; pydicom with numpy: an independent reader; scipy
# and pil: the tests of models/training that need no PyTorch; chromium: the tests of the review page and of OHIF; postgresql:
# the node's other database; poppler-utils: pdftotext reads the summary page; npm fetches OHIF.
test_packages=(dcmtk orthanc orthanc-dicomweb orthanc-python dicom3tools xfsprogs python3 python3-pydicom python3-numpy
	python3-scipy python3-pil chromium postgresql poppler-utils)
# Node.js from elsewhere brings npm of its own and excludes Debian's.
command -v npm >/dev/null || test_packages+=(npm)

# mmdebstrap: roots that packages are tried in and the image is made of; qemu: the arm64 program, tried here; prometheus:
# promtool; systemd-container: the service under systemd; procps: pgrep.
release_packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static mmdebstrap systemd systemd-container procps prometheus dcmtk)

installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

as_root() {
	if ((EUID == 0)); then
		"$@"
	else
		sudo "$@"
	fi
}

# apt_get ARG...: runs apt-get and waits while another one holds a lock, as unattended-upgrades does on a new Ubuntu.
# DPkg::Lock::Timeout makes apt-get itself wait, but only for dpkg's lock: for those of the lists and of the archives it
# gives up at once.
apt_get() {
	local end=$((SECONDS + ${APT_WAIT:-900})) told=
	until as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
		apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout="${APT_WAIT:-900}" "$@" >"$log" 2>&1; do
		if ! grep -q 'Could not get lock\|Unable to lock' "$log" || ((SECONDS >= end)); then
			tail -n 20 "$log" >&2
			die "apt-get $* failed"
		fi
		[[ $told ]] || say "waiting for another apt: $(grep -m 1 'Could not get lock\|Unable to lock' "$log")"
		told=yes
		sleep 2
	done
}

install_packages() {
	local missing=() package
	for package in "$@"; do
		installed "$package" || missing+=("$package")
	done
	if ((${#missing[@]} == 0)); then
		return
	fi
	command -v apt-get >/dev/null ||
		die "these packages (Debian names) are missing and there is no apt-get to install them: ${missing[*]}"
	if ((EUID != 0)) && ! command -v sudo >/dev/null; then
		die "these packages are missing and need root to install; run as root: apt-get install ${missing[*]}"
	fi
	if ((EUID != 0)) && ! sudo -n true 2>/dev/null && [[ ! -t 0 ]]; then
		die "these packages are missing and sudo asks for a password; run: sudo apt-get install ${missing[*]}"
	fi
	say "installing ${missing[*]}"
	apt_get update
	apt_get -y install --no-install-recommends "${missing[@]}"

	# Debian starts Orthanc as a service when it is installed; the tests start their own on free ports.
	if [[ " ${missing[*]} " == *" orthanc "* ]] && [[ -d /run/systemd/system ]]; then
		as_root systemctl disable --now orthanc >/dev/null 2>&1 || true
	fi
	# The same with PostgreSQL.
	if [[ " ${missing[*]} " == *" postgresql "* ]] && [[ -d /run/systemd/system ]]; then
		as_root systemctl disable --now postgresql >/dev/null 2>&1 || true
	fi
}

# ---- ONNX Runtime -------------------------------------------------------------------------------------------------

ort_version=1.30.0
ort_folder=$root/.build/onnxruntime
declare -A ort_sums=(
	[x86_64]=sha256=c902c70b3003c0e99fada202f37478c515ae9bba7944c2b2abd0017bae0c82ed
	[aarch64]=sha256=8a218e1e446880131115c368ec7005969a5022af9a15a26173de648fef0b7789
)
[[ -v ort_sums[$(uname -m)] ]] ||
	die "no ONNX Runtime library is pinned for $(uname -s) $(uname -m); EchoNode runs on Linux x86_64 and aarch64"
ort_sha256=${ort_sums[$(uname -m)]#sha256=}
ort_gpu_folder=$root/.build/onnxruntime-gpu
ort_gpu_sha256=5a140dc17c8b60b35b2ceab0bb533e65ac54f06a208948417c1f9c31df6afc4c

# present FOLDER SHA256: the library is there and is the pinned one
present() {
	[[ -f $1/libonnxruntime.so.$ort_version ]] &&
		echo "$2  $1/libonnxruntime.so.$ort_version" | sha256sum --check --status
}

# The first Python that has pip; distributions often ship python3 without it.
python_with_pip() {
	local python
	for python in python3 /usr/bin/python3; do
		if "$python" -m pip --version >/dev/null 2>&1; then
			echo "$python"
			return
		fi
	done
	return 1
}

# fetch_onnxruntime MACHINE REQUIREMENTS FOLDER SHA256: the libraries come out of the Python wheel, which pip checks against the
# recorded hash; the main library is checked again at every run.
fetch_onnxruntime() {
	local machine=$1 requirements=$2 folder=$3 sha256=$4 python
	if present "$folder" "$sha256"; then
		return
	fi
	python=$(python_with_pip) || {
		install_packages python3 python3-pip
		python=$(python_with_pip) || die "python3 -m pip does not run; it is needed to fetch ONNX Runtime"
	}
	say "fetching ONNX Runtime: $(cut -d ' ' -f 1 "$requirements")"
	rm -rf "$scratch/wheels" "$scratch/unpacked"
	"$python" -m pip download --quiet --disable-pip-version-check --dest "$scratch/wheels" --no-deps \
		--only-binary=:all: --python-version 3.11 --implementation cp --platform "manylinux_2_28_$machine" \
		--require-hashes -r "$requirements" ||
		die "pip could not download ONNX Runtime $ort_version; to install it by hand put its libraries into $folder"
	"$python" - "$scratch/wheels" "$scratch/unpacked" <<-'PY'
		import glob, sys, zipfile
		wheel, = glob.glob(sys.argv[1] + "/onnxruntime*.whl")
		with zipfile.ZipFile(wheel) as archive:
		    for name in archive.namelist():
		        if name.startswith("onnxruntime/capi/libonnxruntime") or name in (
		                "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"):
		            archive.extract(name, sys.argv[2])
	PY
	# Moved into place as a whole: an interrupted run must not leave half a library.
	mkdir -p "${folder%/*}"
	rm -rf "$folder" "$folder.part"
	mkdir "$folder.part"
	cp "$scratch"/unpacked/onnxruntime/{LICENSE,ThirdPartyNotices.txt,capi/*} "$folder.part/"
	mv "$folder.part" "$folder"
	present "$folder" "$sha256" || die "the library in $folder does not have the expected SHA-256 $sha256"
}

# ---- pynetdicom, which Debian does not package -------------------------------------------------------------------

peers=$root/.build/peers

fetch_peers() {
	local python
	if [[ -f $peers/requirements.txt ]] && cmp -s "$here/peers.txt" "$peers/requirements.txt" &&
		"$peers/bin/python" -c 'import pynetdicom' 2>/dev/null; then
		return
	fi
	python=$(python_with_pip) || {
		install_packages python3 python3-pip
		python=$(python_with_pip) || die "python3 -m pip does not run; it is needed to fetch pynetdicom"
	}
	say "fetching $(cut -d ' ' -f 1 "$here/peers.txt" | paste -s -d ' ')"
	# Without pip inside: Debian's python3 cannot make the other kind without one more package.
	rm -rf "$peers"
	"$python" -m venv --without-pip "$peers"
	PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
		-r "$here/peers.txt" --target "$("$peers/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" ||
		die "pip could not install pynetdicom"
	cp "$here/peers.txt" "$peers/requirements.txt"
}

# ---- OHIF, the viewer that opens our objects in a test ---------------------------------------------------------------

ohif_version=3.13.2
ohif_sha256=b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1
ohif=$root/.build/ohif

fetch_ohif() {
	if [[ -f $ohif/dist/index.html && $(cat "$ohif/version" 2>/dev/null) == "$ohif_version" ]]; then
		return
	fi
	say "fetching OHIF $ohif_version"
	(cd "$scratch" && npm pack --silent "@ohif/app@$ohif_version" >/dev/null) || die "npm could not fetch OHIF"
	echo "$ohif_sha256  $scratch/ohif-app-$ohif_version.tgz" | sha256sum --check --status || die "OHIF does not have the expected SHA-256"
	tar -xzf "$scratch/ohif-app-$ohif_version.tgz" -C "$scratch"
	rm -rf "$ohif"
	mkdir -p "$ohif"
	mv "$scratch/package/dist" "$scratch/package/LICENSE" "$ohif/"
	echo "$ohif_version" >"$ohif/version"
}

# ---- Debian's codecs for arm64 -------------------------------------------------------------------------------------

arm64_root=$root/.build/release/arm64

# The headers and libraries that the program is linked with, unpacked beside the compiler for arm64. apt has a state of its
# own here, so that the machine's list of architectures stays as it is.
fetch_arm64_root() {
	local apt=$scratch/apt option options=()
	if [[ -f $arm64_root/usr/lib/aarch64-linux-gnu/libopenjp2.so ]]; then
		return
	fi
	say "fetching libjpeg and OpenJPEG for arm64"
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$scratch/debs"
	for option in APT::Architecture=arm64 APT::Architectures::=arm64 "Dir::State=$apt/state" Dir::State::status=/dev/null \
		"Dir::Cache=$apt/cache" APT::Sandbox::User=root; do
		options+=(-o "$option")
	done
	if ! { apt-get -q "${options[@]}" update && (cd "$scratch/debs" && apt-get -q "${options[@]}" download \
		libjpeg62-turbo libjpeg62-turbo-dev libopenjp2-7 libopenjp2-7-dev libc6 libgcc-s1 libstdc++6 zlib1g); } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		die "the arm64 packages could not be fetched"
	fi
	rm -rf "$arm64_root" "$arm64_root.part"
	mkdir -p "$arm64_root.part"
	for deb in "$scratch"/debs/*.deb; do
		dpkg-deb -x "$deb" "$arm64_root.part"
	done
	mv "$arm64_root.part" "$arm64_root"
}

# ---- main ---------------------------------------------------------------------------------------------------------

case ${1:-} in
run | gpu) packages=("${run_packages[@]}") ;;
test) packages=("${run_packages[@]}" "${test_packages[@]}") ;;
release) packages=("${run_packages[@]}" "${release_packages[@]}") ;;
apt) packages=() ;;
*) usage >&2; exit 2 ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/apt.log

if [[ $1 == apt ]]; then
	apt_get "${@:2}"
	exit
fi
command -v go >/dev/null || die "Go is not on the PATH; EchoNode needs Go $(sed -n 's/^go //p' "$root/go.mod") or newer"
install_packages "${packages[@]}"
if [[ $1 == gpu ]]; then
	[[ $(uname -m) == x86_64 ]] || die "ONNX Runtime for GPUs is pinned for x86_64 only"
	fetch_onnxruntime x86_64 "$here/onnxruntime-gpu-x86_64.txt" "$ort_gpu_folder" "$ort_gpu_sha256"
	say "ready; name the library in the configuration or by ECHONODE_ONNXRUNTIME=$ort_gpu_folder"
	exit
fi
fetch_onnxruntime "$(uname -m)" "$here/onnxruntime-$(uname -m).txt" "$ort_folder" "$ort_sha256"
if [[ $1 == test ]]; then
	fetch_peers
	fetch_ohif
	# The build cache keeps it.
	(cd "$root/conformance/s3gateway/versitygw" && CGO_ENABLED=0 GOFLAGS= go tool -n versitygw >/dev/null) || die "versitygw could not be built"
fi
if [[ $1 == release ]]; then
	for machine in x86_64 aarch64; do
		fetch_onnxruntime "$machine" "$here/onnxruntime-$machine.txt" "$root/.build/release/onnxruntime-$machine" "${ort_sums[$machine]#sha256=}"
	done
	fetch_arm64_root
fi
say "ready"
