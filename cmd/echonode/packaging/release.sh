#!/usr/bin/env bash
# Make the files of a release, the same bytes from the same commit, Go version and Debian packages:
#
#   release.sh OUT      echonode_VERSION_{amd64,arm64}.deb, echonode_VERSION_{amd64,arm64}.cdx.json (bill of materials),
#                       echonode_VERSION_amd64.oci.tar (container image), SHA256SUMS
#
# Needs Debian 12 on x86_64, since the program is linked with its codecs; `make release` calls it after the set-up. The
# image needs root and takes a few minutes more; IMAGE=no leaves it out, ARCHS=amd64 makes one package.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=$root/.build/release
out=$(mkdir -p "$1" && cd "$1" && pwd)
say() { printf 'release: %s\n' "$*"; }
die() { printf 'release: %s\n' "$*" >&2; exit 1; }

version=${VERSION:?set VERSION, for example 0.5.0; make release does}
[[ $(. /etc/os-release && echo "$ID $VERSION_ID") == 'debian 12' && $(uname -m) == x86_64 ]] ||
	die "Debian 12 on x86_64 is needed: the program is linked with its codecs"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(cd "$here" && go build -trimpath -o "$scratch/packaging" .)
packaging() { "$scratch/packaging" "$1" --version "$version" --root "$root" "${@:2}"; }

# build ARCH: the program for an architecture, with the compiler and the codecs of that one
build() {
	local arch=$1 environment=(GOOS=linux GOARCH="$1" CGO_ENABLED=1 GOFLAGS=-buildvcs=false)
	if [[ $arch == arm64 ]]; then
		local lib=$work/arm64/usr/lib/aarch64-linux-gnu
		environment+=(CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++
			PKG_CONFIG_LIBDIR="$lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$work/arm64"
			CGO_CFLAGS="-O2 -I$work/arm64/usr/include -I$work/arm64/usr/include/aarch64-linux-gnu -ffile-prefix-map=$root=."
			CGO_LDFLAGS="-O2 -L$lib")
	else
		environment+=(CGO_CFLAGS="-O2 -ffile-prefix-map=$root=.")
	fi
	(cd "$root" && env "${environment[@]}" go build -trimpath -ldflags "-s -w -buildid= -X main.version=$version" \
		-o "$scratch/$arch/echonode" ./cmd/echonode)
}

declare -A machine=([amd64]=x86_64 [arm64]=aarch64)
for arch in ${ARCHS:-amd64 arm64}; do
	say "building for $arch"
	build "$arch"
	parts=(--arch "$arch" --binary "$scratch/$arch/echonode" --onnxruntime "$work/onnxruntime-${machine[$arch]}")
	packaging deb "${parts[@]}" --out "$out"
	packaging sbom "${parts[@]}" --out "$out/echonode_${version}_$arch.cdx.json"
done

if [[ ${IMAGE:-yes} == yes ]]; then
	say "image"
	deb=$out/$(basename "$out"/echonode_*_amd64.deb)
	# mmdebstrap writes the same tar for the same packages. Logs and caches, which hold times, go.
	mmdebstrap --quiet --mode=root --variant=essential \
		--include="$(dpkg-deb -f "$deb" Depends | sed 's/ *([^)]*)//g; s/, */,/g'),ca-certificates,tzdata,ffmpeg" \
		--aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-include=/usr/share/doc/echonode/*' \
		--customize-hook="copy-in '$deb' /tmp" \
		--customize-hook="chroot \"\$1\" sh -c 'dpkg -i /tmp/*.deb >/dev/null && rm /tmp/*.deb'" \
		--customize-hook='rm -rf "$1"/var/log/* "$1"/var/cache/* "$1"/var/lib/apt/lists/* "$1"/var/lib/systemd/deb-systemd-helper-*' \
		--customize-hook='sed -i "s/^  listen: .*/  listen: \":11112\"/" "$1"/etc/echonode/echonode.yaml' \
		bookworm "$scratch/rootfs.tar"
	packaging image --arch amd64 --rootfs "$scratch/rootfs.tar" --out "$out/echonode_${version}_amd64.oci.tar"
fi
packaging sums "$out"
say "$version is in $out"
